/* A fake of CUDA's runtime library with the signatures of cuda_runtime_api.h. FAKE_CUDART: the code that
   cudaGetDeviceCount returns. */
#include <stdlib.h>

typedef int cudaError_t;

cudaError_t cudaRuntimeGetVersion(int *runtimeVersion) {
    *runtimeVersion = 12020;
    return 0;
}

cudaError_t cudaGetDeviceCount(int *count) {
    const char *code = getenv("FAKE_CUDART");
    *count = 1;
    return code ? atoi(code) : 0;
}

const char *cudaGetErrorString(cudaError_t error) {
    return error == 35 ? "CUDA driver version is insufficient for CUDA runtime version" : "another error";
}
