/* A fake of CUDA's runtime library with the signatures of cuda_runtime_api.h; "device" memory is the computer's own.

   As on a GPU, work on a stream waits: copies, events and what fake_enqueue was given happen, in their order, only when
   the stream or an event on it is waited for. So a program that forgets to wait reads old values. Pointers have to be
   ones that were handed out here, with room for what is copied. Events are stamped with CLOCK_MONOTONIC.

   FAKE_CUDART: the code that cudaGetDeviceCount returns; 139 makes it crash. FAKE_CUDART_FAIL_AT: the how-manyth call
   fails, and FAKE_CUDART_CODE with which code (2). FAKE_CUDART_LOG: a file that gets a line for each call.
   fake_live: how many allocations, streams and events there still are; fake_calls: how many calls came since
   fake_reset. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int cudaError_t;
typedef struct Stream *cudaStream_t;
typedef struct Event *cudaEvent_t;
enum { DEVICE = 1, HOST = 2 };
enum { OK = 0, INVALID = 1, NO_MEMORY = 2, BAD_HANDLE = 400, NOT_READY = 600 };
#define TOTAL ((size_t)8 << 30)
#define CONTEXT ((size_t)64 << 20)
#define MANY 512

struct Event { int live, done; double at_ms; };
struct Op { void *to; const void *from; size_t count; struct Event *event; void (*work)(void *); void *argument; };
struct Stream { int live, count; struct Op ops[MANY]; };
struct Block { char *at; size_t size; int kind; };

static struct Block blocks[MANY];
static struct Stream streams[8];
static struct Event events[64];
static int calls, last;

static int number(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text && *text ? atoi(text) : otherwise;
}

static cudaError_t ended(const char *call, cudaError_t code) {
    const char *path = getenv("FAKE_CUDART_LOG");
    FILE *log = path && *path ? fopen(path, "a") : NULL;
    if (log) {
        fprintf(log, "%s %d\n", call, code);
        fclose(log);
    }
    if (code) last = code;
    return code;
}

/* Nonzero when this call is the one that has to fail. */
static cudaError_t begins(void) {
    return ++calls == number("FAKE_CUDART_FAIL_AT", -1) ? number("FAKE_CUDART_CODE", NO_MEMORY) : OK;
}
#define BEGIN(name) do { cudaError_t failed = begins(); if (failed) return ended(name, failed); } while (0)

static int holds(const void *at, size_t count, int kind) {
    for (int i = 0; i < MANY; i++)
        if (blocks[i].at && blocks[i].kind == kind && (const char *)at >= blocks[i].at &&
            (const char *)at + count <= blocks[i].at + blocks[i].size) return 1;
    return 0;
}

static cudaError_t allocate(void **pointer, size_t size, int kind) {
    if (!pointer) return INVALID;
    if (size > TOTAL) return NO_MEMORY;
    for (int i = 0; i < MANY; i++)
        if (!blocks[i].at) {
            blocks[i].at = malloc(size ? size : 1);
            memset(blocks[i].at, 0xA5, size); /* never zeros by luck */
            blocks[i].size = size;
            blocks[i].kind = kind;
            *pointer = blocks[i].at;
            return OK;
        }
    return NO_MEMORY;
}

static cudaError_t release(void *pointer, int kind) {
    if (!pointer) return OK;
    for (int i = 0; i < MANY; i++)
        if (blocks[i].at == pointer && blocks[i].kind == kind) {
            free(blocks[i].at);
            blocks[i].at = NULL;
            return OK;
        }
    return INVALID;
}

static int is_stream(cudaStream_t stream) { return stream >= streams && stream < streams + 8 && stream->live; }
static int is_event(cudaEvent_t event) { return event >= events && event < events + 64 && event->live; }

static cudaError_t put(cudaStream_t stream, struct Op op) {
    if (!is_stream(stream)) return BAD_HANDLE;
    if (stream->count == MANY) return INVALID;
    stream->ops[stream->count++] = op;
    return OK;
}

static void drain(cudaStream_t stream) {
    int count = stream->count;
    for (int i = 0; i < count; i++) {
        struct Op *op = &stream->ops[i];
        if (op->event) {
            struct timespec now;
            clock_gettime(CLOCK_MONOTONIC, &now);
            op->event->at_ms = now.tv_sec * 1e3 + now.tv_nsec / 1e6;
            op->event->done = 1;
        } else if (op->work) op->work(op->argument);
        else memcpy(op->to, op->from, op->count);
    }
    stream->count = 0;
}

cudaError_t cudaRuntimeGetVersion(int *runtimeVersion) {
    *runtimeVersion = 12020;
    return 0;
}

cudaError_t cudaGetDeviceCount(int *count) {
    int code = number("FAKE_CUDART", 0);
    if (code == 139) raise(SIGSEGV);
    *count = 1;
    return code;
}

const char *cudaGetErrorString(cudaError_t error) {
    switch (error) {
        case OK: return "no error";
        case INVALID: return "invalid argument";
        case NO_MEMORY: return "out of memory";
        case 35: return "CUDA driver version is insufficient for CUDA runtime version";
        case BAD_HANDLE: return "invalid resource handle";
        case NOT_READY: return "device not ready";
        default: return "another error";
    }
}

cudaError_t cudaGetLastError(void) {
    int code = last;
    last = OK;
    return code;
}

cudaError_t cudaMalloc(void **devPtr, size_t size) {
    BEGIN("cudaMalloc");
    return ended("cudaMalloc", allocate(devPtr, size, DEVICE));
}

cudaError_t cudaMallocHost(void **ptr, size_t size) {
    BEGIN("cudaMallocHost");
    return ended("cudaMallocHost", allocate(ptr, size, HOST));
}

/* Like a GPU this frees only after the work that may still use the memory. */
cudaError_t cudaFree(void *devPtr) {
    BEGIN("cudaFree");
    for (int i = 0; i < 8; i++) if (streams[i].live) drain(&streams[i]);
    return ended("cudaFree", release(devPtr, DEVICE));
}

cudaError_t cudaFreeHost(void *ptr) {
    BEGIN("cudaFreeHost");
    return ended("cudaFreeHost", release(ptr, HOST));
}

cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t count, int kind, cudaStream_t stream) {
    struct Op op = {dst, src, count, NULL, NULL, NULL};
    BEGIN("cudaMemcpyAsync");
    if (kind != 1 && kind != 2) return ended("cudaMemcpyAsync", 21);
    if (!holds(dst, count, kind == 1 ? DEVICE : HOST) || !holds(src, count, kind == 1 ? HOST : DEVICE))
        return ended("cudaMemcpyAsync", INVALID);
    return ended("cudaMemcpyAsync", put(stream, op));
}

cudaError_t cudaStreamCreate(cudaStream_t *pStream) {
    BEGIN("cudaStreamCreate");
    for (int i = 0; i < 8; i++)
        if (!streams[i].live) {
            streams[i].live = 1;
            streams[i].count = 0;
            *pStream = &streams[i];
            return ended("cudaStreamCreate", OK);
        }
    return ended("cudaStreamCreate", NO_MEMORY);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    BEGIN("cudaStreamDestroy");
    if (!is_stream(stream)) return ended("cudaStreamDestroy", BAD_HANDLE);
    stream->live = 0;
    return ended("cudaStreamDestroy", OK);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    BEGIN("cudaStreamSynchronize");
    if (!is_stream(stream)) return ended("cudaStreamSynchronize", BAD_HANDLE);
    drain(stream);
    return ended("cudaStreamSynchronize", OK);
}

cudaError_t cudaEventCreate(cudaEvent_t *event) {
    BEGIN("cudaEventCreate");
    for (int i = 0; i < 64; i++)
        if (!events[i].live) {
            events[i].live = 1;
            events[i].done = 0;
            *event = &events[i];
            return ended("cudaEventCreate", OK);
        }
    return ended("cudaEventCreate", NO_MEMORY);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    struct Op op = {NULL, NULL, 0, event, NULL, NULL};
    BEGIN("cudaEventRecord");
    if (!is_event(event)) return ended("cudaEventRecord", BAD_HANDLE);
    event->done = 0;
    return ended("cudaEventRecord", put(stream, op));
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    BEGIN("cudaEventSynchronize");
    if (!is_event(event)) return ended("cudaEventSynchronize", BAD_HANDLE);
    for (int i = 0; i < 8; i++) if (streams[i].live) drain(&streams[i]);
    return ended("cudaEventSynchronize", OK);
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end) {
    BEGIN("cudaEventElapsedTime");
    if (!is_event(start) || !is_event(end)) return ended("cudaEventElapsedTime", BAD_HANDLE);
    if (!start->done || !end->done) return ended("cudaEventElapsedTime", NOT_READY);
    *ms = (float)(end->at_ms - start->at_ms);
    return ended("cudaEventElapsedTime", OK);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    BEGIN("cudaEventDestroy");
    if (!is_event(event)) return ended("cudaEventDestroy", BAD_HANDLE);
    event->live = 0;
    return ended("cudaEventDestroy", OK);
}

cudaError_t cudaMemGetInfo(size_t *freeBytes, size_t *total) {
    BEGIN("cudaMemGetInfo");
    *total = TOTAL;
    *freeBytes = TOTAL - CONTEXT;
    for (int i = 0; i < MANY; i++) if (blocks[i].at) *freeBytes -= blocks[i].size;
    return ended("cudaMemGetInfo", OK);
}

/* What the real library does not have: for the fake of TensorRT and for the tests. */
int fake_enqueue(cudaStream_t stream, void (*work)(void *), void *argument) {
    struct Op op = {NULL, NULL, 0, NULL, work, argument};
    return put(stream, op);
}

int fake_is_device(const void *at, size_t count) { return holds(at, count, DEVICE); }

int fake_live(void) {
    int live = 0;
    for (int i = 0; i < MANY; i++) live += blocks[i].at != NULL;
    for (int i = 0; i < 8; i++) live += streams[i].live;
    for (int i = 0; i < 64; i++) live += events[i].live;
    return live;
}

int fake_calls(void) { return calls; }

void fake_reset(void) { calls = last = 0; }
