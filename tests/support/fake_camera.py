"""Programs that behave like ffmpeg and gst-launch-1.0 with a camera, after their documentation; for a PATH of its own.

ffmpeg(1): options before `-i` are of the input, those after it of the output; the last word is the output, `pipe:N` an
open file. gst-launch-1.0(1): elements between `!`, properties as name=value; rows of RGB are aligned to 4 bytes
("Raw Video Media Types"); fdsink writes to `fd`. Both write messages to stdout and stderr as they like.

FAKE_CAMERA is JSON: frames (how many before it ends), code (its exit code), message (its last words), period_s,
hang (write nothing and stay). Pixel i of frame n is (n + i) % 256.
"""

import os
import stat
import sys

PROGRAM = r"""#!%s
import json, os, signal, sys, time

plan = json.loads(os.environ.get("FAKE_CAMERA", "{}"))
words = sys.argv[1:]
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "called.json"), "w") as stream:
    json.dump([os.path.basename(sys.argv[0])] + words + [os.getpid()], stream)


def refuse(text):
    sys.stderr.write(text + "\n")
    sys.exit(1)


def after(words, name):
    if name not in words:
        refuse("no " + name)
    return words[words.index(name) + 1]


def ffmpeg():
    place = words.index("-i")
    before, behind = words[:place], words[place + 2:-1]
    device = words[place + 1]
    if after(before, "-f") != "v4l2" or not after(before, "-video_size") or "-nostdin" not in before:
        refuse("not a v4l2 input")
    if not os.path.exists(device):
        refuse(device + ": No such file or directory")
    if after(behind, "-f") != "rawvideo" or after(behind, "-pix_fmt") != "rgb24":
        refuse("not raw RGB")
    scale = after(behind, "-vf")
    assert scale.startswith("scale=")
    width, height = map(int, scale[len("scale="):].split(":"))
    kind, _, number = words[-1].partition(":")
    assert kind == "pipe"
    return width, height, 3 * width, int(number)


def gst_launch():
    assert words[0] == "-q"
    elements = " ".join(words[1:]).split(" ! ")
    source, sink = elements[0].split(), elements[-1].split()
    if source[0] not in ("v4l2src", "nvarguscamerasrc", "videotestsrc"):
        refuse('WARNING: erroneous pipeline: no element "%%s"' %% source[0])
    assert sink[0] == "fdsink" and len([one for one in elements if one.split()[0].endswith("sink")]) == 1
    caps = dict(part.split("=") for part in elements[-2].split(",")[1:])
    assert elements[-2].startswith("video/x-raw,") and caps["format"] == "RGB"
    width, height = int(caps["width"]), int(caps["height"])
    number = int(dict(part.split("=") for part in sink[1:])["fd"])
    return width, height, (3 * width + 3) // 4 * 4, number


width, height, stride, number = ffmpeg() if "ffmpeg" in sys.argv[0] else gst_launch()
print("GST_ARGUS: Creating output stream")
print("CONSUMER: Waiting until producer is connected...")
sys.stdout.flush()
if plan.get("hang"):
    time.sleep(600)
frame = 0
while frame < plan.get("frames", 1 << 30):
    rows = []
    for y in range(height):
        row = bytes(bytearray((frame + y * 3 * width + x) %% 256 for x in range(3 * width)))
        rows.append(row + b"\xee" * (stride - 3 * width))
    content = b"".join(rows)
    while content:
        content = content[os.write(number, content[:5000]):]  # a pipe gives parts of a frame
    if frame %% 10 == 0:
        sys.stderr.write("[swscaler @ 0x1] deprecated pixel format used\n")
        sys.stderr.flush()
    frame += 1
    time.sleep(plan.get("period_s", 0.0))
sys.stderr.write(plan.get("message", "") + "\n")
sys.stderr.flush()
if plan.get("code", 0) < 0:
    os.kill(os.getpid(), -plan["code"])
sys.exit(plan.get("code", 0))
"""


def write_programs(folder, names):
    """Programs of these names in a folder, which is given back."""
    folder = str(folder)
    if not os.path.isdir(folder):
        os.makedirs(folder)
    for name in names:
        path = os.path.join(folder, name)
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(PROGRAM % sys.executable)
        os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)
    return folder
