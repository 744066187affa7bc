/*
 * Signs with a PKCS#11 module, to compare its cost with that of Webtoki.
 * Usage: sign-by-pkcs11 MODULE PIN. Logs in to the first token, finds its first EC private key with CKA_ID 01 and prints
 * "ready". Then, for each line N on standard input, signs N digests of 32 bytes with CKM_ECDSA and prints
 * "done MILLISECONDS".
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#define CRYPTOKI_GNU 1
#include <p11-kit/pkcs11.h>

static void must(ck_rv_t rv, const char *what)
{
    if (rv == CKR_OK)
        return;
    fprintf(stderr, "%s: 0x%lx\n", what, rv);
    exit(1);
}

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    void *module = dlopen(argv[1], RTLD_NOW);
    if (module == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    CK_C_GetFunctionList get_functions = (CK_C_GetFunctionList)dlsym(module, "C_GetFunctionList");
    struct ck_function_list *p11;
    must(get_functions(&p11), "C_GetFunctionList");
    must(p11->C_Initialize(NULL), "C_Initialize");

    ck_slot_id_t slots[8];
    unsigned long count = 8;
    must(p11->C_GetSlotList(1, slots, &count), "C_GetSlotList");
    if (count == 0) {
        fprintf(stderr, "no token\n");
        return 1;
    }
    ck_session_handle_t session;
    must(p11->C_OpenSession(slots[0], CKF_SERIAL_SESSION, NULL, NULL, &session), "C_OpenSession");
    must(p11->C_Login(session, CKU_USER, (unsigned char *)argv[2], strlen(argv[2])), "C_Login");

    ck_object_class_t class = CKO_PRIVATE_KEY;
    ck_key_type_t type = CKK_EC;
    unsigned char id[] = {1};
    struct ck_attribute template[] = {
        {CKA_CLASS, &class, sizeof class}, {CKA_KEY_TYPE, &type, sizeof type}, {CKA_ID, id, sizeof id}};
    ck_object_handle_t key;
    must(p11->C_FindObjectsInit(session, template, 3), "C_FindObjectsInit");
    must(p11->C_FindObjects(session, &key, 1, &count), "C_FindObjects");
    must(p11->C_FindObjectsFinal(session), "C_FindObjectsFinal");
    if (count == 0) {
        fprintf(stderr, "no key\n");
        return 1;
    }
    printf("ready\n");
    fflush(stdout);

    int requested;
    while (scanf("%d", &requested) == 1) {
        double start = now_ms();
        for (int done = 0; done < requested; done++) {
            struct ck_mechanism mechanism = {CKM_ECDSA, NULL, 0};
            unsigned char digest[32], signature[128];
            unsigned long length = sizeof signature;
            memset(digest, done, sizeof digest);
            must(p11->C_SignInit(session, &mechanism, key), "C_SignInit");
            must(p11->C_Sign(session, digest, sizeof digest, signature, &length), "C_Sign");
        }
        printf("done %.1f\n", now_ms() - start);
        fflush(stdout);
    }
    must(p11->C_Finalize(NULL), "C_Finalize");
    return 0;
}
