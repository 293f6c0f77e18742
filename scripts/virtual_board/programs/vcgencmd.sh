#!/bin/sh
# The two questions of vcgencmd that tell of power and throttling.
case $1 in
    pmic_read_adc) exec cat /opt/replay/pmic_read_adc ;;
    get_throttled) echo "throttled=0x0" ;;
    *)
        echo "this virtual board answers only vcgencmd pmic_read_adc and get_throttled" >&2
        exit 1
        ;;
esac
