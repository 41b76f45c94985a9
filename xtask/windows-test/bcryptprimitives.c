/* wine before version 9 lacks this library, from which Rust's standard library takes its random
 * numbers. This one passes the request on to what wine has had for long. */
#include <windows.h>
#include <ntsecapi.h>

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE bytes, SIZE_T count) {
    while (count > 0) {
        ULONG part = count > 0x10000000 ? 0x10000000 : (ULONG)count;
        if (!RtlGenRandom(bytes, part)) {
            return FALSE;
        }
        bytes += part;
        count -= part;
    }
    return TRUE;
}
