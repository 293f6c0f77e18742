/* A fake of the NVIDIA driver's library with the signatures of CUDA's cuda.h, told what to say by its environment:
   FAKE_CUDA_INIT: the code that cuInit returns; 139 makes it crash, -1 makes it hang. FAKE_CUDA_DEVICES: how many.
   FAKE_CUDA_FAILS: the name of a later call that returns 999. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int CUresult;
typedef int CUdevice;
typedef int CUdevice_attribute;

static int number(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text ? atoi(text) : otherwise;
}

static CUresult result(const char *call) {
    const char *failing = getenv("FAKE_CUDA_FAILS");
    return failing && !strcmp(failing, call) ? 999 : 0;
}

CUresult cuInit(unsigned int Flags) {
    int code = number("FAKE_CUDA_INIT", 0);
    if (code == 139) raise(SIGSEGV);
    if (code == -1) pause();
    return Flags ? 1 : code;
}

CUresult cuDriverGetVersion(int *driverVersion) {
    *driverVersion = 12060;
    return result("cuDriverGetVersion");
}

CUresult cuDeviceGetCount(int *count) {
    *count = number("FAKE_CUDA_DEVICES", 1);
    return result("cuDeviceGetCount");
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
    *device = 40 + ordinal; /* a handle is no index */
    return result("cuDeviceGet");
}

CUresult cuDeviceGetName(char *name, int len, CUdevice dev) {
    const char *names[] = {"Orin", "NVIDIA H200"};
    if (dev < 40 || len < 32) return 1;
    strncpy(name, names[(dev - 40) % 2], len);
    return result("cuDeviceGetName");
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice dev) {
    *bytes = dev == 40 ? (size_t)8 << 30 : ((size_t)141 << 30) + 1;
    return result("cuDeviceTotalMem_v2");
}

CUresult cuDeviceGetAttribute(int *pi, CUdevice_attribute attrib, CUdevice dev) {
    int orin = dev == 40;
    if (attrib != 75 && attrib != 76) return 1;
    *pi = attrib == 75 ? (orin ? 8 : 9) : (orin ? 7 : 0);
    return result("cuDeviceGetAttribute");
}

CUresult cuGetErrorString(CUresult error, const char **pStr) {
    *pStr = error == 100 ? "no CUDA-capable device is detected" : error == 999 ? "unknown error" : NULL;
    return *pStr ? 0 : 1;
}
