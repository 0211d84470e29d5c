/* How C's types look in Java. Everything is a copy, so that no pointer outlives a call; texts are
 * byte[], as JNI's own strings are a UTF-8 of their own that mangles characters of 4 bytes. */
%include "enumsimple.swg"
%javaconst(1);

%{
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { kSmall = 512 };

/* Bytes that are given: a copy with a NUL behind it, on the stack if it is small. */
static char* take_bytes(JNIEnv* env, jbyteArray array, char* small, size_t* length) {
  jsize size = (*env)->GetArrayLength(env, array);
  char* copy = size < kSmall ? small : malloc((size_t)size + 1);
  if (copy == NULL) {
    SWIG_JavaThrowException(env, SWIG_JavaOutOfMemoryError, "no memory for a text");
    return NULL;
  }
  (*env)->GetByteArrayRegion(env, array, 0, size, (jbyte*)copy);
  copy[size] = '\0';
  *length = (size_t)size;
  return copy;
}

static jbyteArray give_bytes(JNIEnv* env, const void* bytes, size_t length) {
  if (bytes == NULL) return NULL;
  jbyteArray array = (*env)->NewByteArray(env, (jsize)length);
  if (array != NULL) {
    (*env)->SetByteArrayRegion(env, array, 0, (jsize)length, (const jbyte*)bytes);
  }
  return array;
}

/* Into the first place of a byte[][], which stays as it is if there is nothing. */
static void give_text(JNIEnv* env, jobjectArray out, const char* text, size_t length) {
  if (out == NULL || text == NULL) return;
  jbyteArray array = give_bytes(env, text, length);
  if (array == NULL) return;
  (*env)->SetObjectArrayElement(env, out, 0, array);
  (*env)->DeleteLocalRef(env, array);
}

/* --- Calls back: all of C's go to NativeCalls.call. */

static JavaVM* machine;
/* Weak, so that the class loader can go, and this library with it. */
static jweak calls_class;
static jmethodID call_method;
static jmethodID keep_method;
static pthread_key_t attached;

/* When a thread of C's ends that has called. */
static void detach(void* unused) { (*machine)->DetachCurrentThread(machine); }

/* This thread's environment; one of C's own is attached until it ends. */
static JNIEnv* environment(void) {
  JNIEnv* env = NULL;
  if ((*machine)->GetEnv(machine, (void**)&env, JNI_VERSION_1_8) == JNI_OK) return env;
  JavaVMAttachArgs arguments = {JNI_VERSION_1_8, "agx-calls", NULL};
  if ((*machine)->AttachCurrentThreadAsDaemon(machine, (void**)&env, &arguments) != JNI_OK) {
    return NULL;
  }
  pthread_setspecific(attached, machine);
  return env;
}

/* What NativeCalls could not catch by itself, such as a stack that is full, is kept there. */
static int32_t keep_thrown(JNIEnv* env, jclass calls) {
  jthrowable thrown = (*env)->ExceptionOccurred(env);
  (*env)->ExceptionClear(env);
  if (calls != NULL && thrown != NULL) {
    (*env)->CallStaticVoidMethod(env, calls, keep_method, thrown);
    if ((*env)->ExceptionCheck(env)) (*env)->ExceptionClear(env);
  }
  return AGX_EFAILED;
}

static int32_t call_java(JNIEnv* env, int32_t kind, void* handle, const void* record, size_t size,
                         int64_t attempt) {
  jclass calls = (*env)->NewLocalRef(env, calls_class);
  /* There is nobody to tell any more. */
  if (calls == NULL) return AGX_ECLOSED;
  jbyteArray bytes = give_bytes(env, record, size);
  if ((*env)->ExceptionCheck(env)) return keep_thrown(env, calls);
  jint status = (*env)->CallStaticIntMethod(env, calls, call_method, (jint)kind,
                                            (jlong)(intptr_t)handle, bytes, (jlong)attempt);
  return (*env)->ExceptionCheck(env) ? keep_thrown(env, calls) : (int32_t)status;
}

static int32_t call_back(int32_t kind, void* handle, const void* record, size_t size,
                         int64_t attempt) {
  JNIEnv* env = environment();
  if (env == NULL) return AGX_ESYSTEM;
  if ((*env)->PushLocalFrame(env, 8) != 0) return keep_thrown(env, NULL);
  int32_t status = call_java(env, kind, handle, record, size, attempt);
  (*env)->PopLocalFrame(env, NULL);
  return status;
}

JNIEXPORT jint JNICALL JNI_OnLoad(JavaVM* vm, void* unused) {
  JNIEnv* env = NULL;
  machine = vm;
  if ((*vm)->GetEnv(vm, (void**)&env, JNI_VERSION_1_8) != JNI_OK) return JNI_ERR;
  jclass calls = (*env)->FindClass(env, "io/libagx/internal/NativeCalls");
  if (calls == NULL) return JNI_ERR;
  call_method = (*env)->GetStaticMethodID(env, calls, "call", "(IJ[BJ)I");
  if (call_method == NULL) return JNI_ERR;
  keep_method = (*env)->GetStaticMethodID(env, calls, "keep", "(Ljava/lang/Throwable;)V");
  if (keep_method == NULL) return JNI_ERR;
  calls_class = (*env)->NewWeakGlobalRef(env, calls);
  (*env)->DeleteLocalRef(env, calls);
  if (calls_class == NULL || pthread_key_create(&attached, detach) != 0) return JNI_ERR;
  agxb_set_function(call_back);
  return JNI_VERSION_1_8;
}

JNIEXPORT void JNICALL JNI_OnUnload(JavaVM* vm, void* unused) {
  JNIEnv* env = NULL;
  pthread_key_delete(attached);
  if ((*vm)->GetEnv(vm, (void**)&env, JNI_VERSION_1_8) == JNI_OK) {
    (*env)->DeleteWeakGlobalRef(env, calls_class);
  }
}
%}

%define AGX_HANDLE(TYPE)
%typemap(jni) TYPE* "jlong"
%typemap(jtype) TYPE* "long"
%typemap(jstype) TYPE* "long"
%typemap(javain) TYPE* "$javainput"
%typemap(javaout) TYPE* { return $jnicall; }
%typemap(in) TYPE* "$1 = ($1_ltype)(intptr_t)$input;"
%typemap(out) TYPE* "$result = (jlong)(intptr_t)$1;"
%typemap(jni) TYPE** "jlongArray"
%typemap(jtype) TYPE** "long[]"
%typemap(jstype) TYPE** "long[]"
%typemap(javain) TYPE** "$javainput"
%typemap(in) TYPE** (TYPE* handle = NULL) "$1 = &handle;"
%typemap(argout) TYPE** {
  jlong value = (jlong)(intptr_t)handle$argnum;
  (*jenv)->SetLongArrayRegion(jenv, $input, 0, 1, &value);
}
%enddef

/* Numbers that come out: into the first places of an array, or nowhere if it is null. */
%define AGX_NUMBERS(CTYPE, JNI, JAVA, SET, COUNT, PATTERN)
%typemap(jni) PATTERN #JNI "Array"
%typemap(jtype) PATTERN #JAVA "[]"
%typemap(jstype) PATTERN #JAVA "[]"
%typemap(javain) PATTERN "$javainput"
%typemap(in) PATTERN (CTYPE values[COUNT] = {0}) "$1 = values;"
%typemap(argout) PATTERN {
  if ($input != NULL) {
    JNI out[COUNT];
    for (int i = 0; i < COUNT; ++i) out[i] = (JNI)values$argnum[i];
    jsize room = (*jenv)->GetArrayLength(jenv, $input);
    (*jenv)->SET(jenv, $input, 0, room < COUNT ? room : COUNT, out);
  }
}
%enddef

AGX_NUMBERS(int64_t, jlong, long, SetLongArrayRegion, 6, int64_t* numbers)
AGX_NUMBERS(int64_t, jlong, long, SetLongArrayRegion, 1, int64_t* scope_id)
AGX_NUMBERS(int64_t, jlong, long, SetLongArrayRegion, 1, int64_t* user_id)
AGX_NUMBERS(uint64_t, jlong, long, SetLongArrayRegion, 1, uint64_t*)
AGX_NUMBERS(size_t, jlong, long, SetLongArrayRegion, 1, size_t* added)
AGX_NUMBERS(int, jint, int, SetIntArrayRegion, 1, int*)

/* Texts that are given. */
%typemap(jni) const char* "jbyteArray"
%typemap(jtype) const char* "byte[]"
%typemap(jstype) const char* "byte[]"
%typemap(javain) const char* "$javainput"
%typemap(javaout) const char* { return $jnicall; }
%typemap(in) const char* (char small[kSmall]) {
  size_t length = 0;
  $1 = NULL;
  if ($input != NULL && ($1 = take_bytes(jenv, $input, small, &length)) == NULL) return $null;
}
%typemap(freearg) const char* { if ((char*)$1 != small$argnum) free((char*)$1); }
%typemap(out) const char* "$result = give_bytes(jenv, $1, $1 == NULL ? 0 : strlen($1));"

/* Bytes that are given, with how many they are. */
%typemap(jni) (const char* bytes, size_t length) "jbyteArray"
%typemap(jtype) (const char* bytes, size_t length) "byte[]"
%typemap(jstype) (const char* bytes, size_t length) "byte[]"
%typemap(javain) (const char* bytes, size_t length) "$javainput"
%typemap(in) (const char* bytes, size_t length) (char small[kSmall]) {
  $1 = NULL;
  $2 = 0;
  if ($input != NULL) {
    size_t length = 0;
    $1 = ($1_ltype)take_bytes(jenv, $input, small, &length);
    if ($1 == NULL) return $null;
    $2 = length;
  }
}
%typemap(freearg) (const char* bytes, size_t length) {
  if ((char*)$1 != small$argnum) free((char*)$1);
}
%apply (const char* bytes, size_t length) {
  (const char* json, size_t length),
  (const void* events, size_t size),
  (const void* sessions, size_t sessions_size),
  (const void* ids, size_t size)
};

/* Texts that come out. */
%typemap(jni) const char** "jobjectArray"
%typemap(jtype) const char** "byte[][]"
%typemap(jstype) const char** "byte[][]"
%typemap(javain) const char** "$javainput"
%typemap(in) const char** (const char* text = NULL) "$1 = ($1_ltype)&text;"
%typemap(argout) const char** {
  give_text(jenv, $input, text$argnum, text$argnum == NULL ? 0 : strlen(text$argnum));
}
%typemap(jni) (const char** text, size_t* length) "jobjectArray"
%typemap(jtype) (const char** text, size_t* length) "byte[][]"
%typemap(jstype) (const char** text, size_t* length) "byte[][]"
%typemap(javain) (const char** text, size_t* length) "$javainput"
%typemap(in) (const char** text, size_t* length) (const char* text = NULL, size_t length = 0) {
  $1 = ($1_ltype)&text;
  $2 = &length;
}
%typemap(argout) (const char** text, size_t* length) {
  give_text(jenv, $input, text$argnum, length$argnum);
}
%apply (const char** text, size_t* length) {
  (const char** json, size_t* length),
  (const char** title, size_t* length),
  (const char** response, size_t* length)
};

/* Ids and lines that C writes into an array of ours. */
%typemap(jni) char* ids "jbyteArray"
%typemap(jtype) char* ids "byte[]"
%typemap(jstype) char* ids "byte[]"
%typemap(javain) char* ids "$javainput"
%typemap(in) char* ids (size_t room) {
  $1 = NULL;
  room = 0;
  if ($input != NULL) {
    room = (size_t)(*jenv)->GetArrayLength(jenv, $input);
    $1 = calloc(room + 1, 1);
    if ($1 == NULL) {
      SWIG_JavaThrowException(jenv, SWIG_JavaOutOfMemoryError, "no memory for ids");
      return $null;
    }
  }
}
%typemap(argout) char* ids {
  if ($input != NULL) {
    (*jenv)->SetByteArrayRegion(jenv, $input, 0, (jsize)room$argnum, (const jbyte*)$1);
  }
}
%typemap(freearg) char* ids "free($1);"
%apply char* ids { char* id, char* position, char* statuses };
/* One that is given by that name has nothing to come out. */
%typemap(argout) const char* position ""

/* One that C reads as well. */
%apply char* ids { char* cursor };
%typemap(in) char* cursor (char room[AGX_ID_SIZE]) {
  memset(room, 0, sizeof(room));
  jsize size = (*jenv)->GetArrayLength(jenv, $input);
  if (size > AGX_ID_SIZE - 1) size = AGX_ID_SIZE - 1;
  (*jenv)->GetByteArrayRegion(jenv, $input, 0, size, (jbyte*)room);
  $1 = room;
}
%typemap(argout) char* cursor {
  jsize size = (*jenv)->GetArrayLength(jenv, $input);
  if (size > AGX_ID_SIZE) size = AGX_ID_SIZE;
  (*jenv)->SetByteArrayRegion(jenv, $input, 0, size, (const jbyte*)room$argnum);
}
%typemap(freearg) char* cursor ""

%typemap(jni) (char* text, size_t room) "jbyteArray"
%typemap(jtype) (char* text, size_t room) "byte[]"
%typemap(jstype) (char* text, size_t room) "byte[]"
%typemap(javain) (char* text, size_t room) "$javainput"
%typemap(in) (char* text, size_t room) (char line[kSmall]) {
  memset(line, 0, sizeof(line));
  $1 = line;
  $2 = (size_t)(*jenv)->GetArrayLength(jenv, $input);
  if ($2 > sizeof(line)) $2 = sizeof(line);
}
%typemap(argout) (char* text, size_t room) {
  (*jenv)->SetByteArrayRegion(jenv, $input, 0, (jsize)$2, (const jbyte*)$1);
}

/* A whole batch in one piece. */
%typemap(jni) const void* agxb_batch_data "jbyteArray"
%typemap(jtype) const void* agxb_batch_data "byte[]"
%typemap(jstype) const void* agxb_batch_data "byte[]"
%typemap(javaout) const void* agxb_batch_data { return $jnicall; }
%typemap(out) const void* agxb_batch_data {
  $result = give_bytes(jenv, $1, $1 == NULL ? 0 : agxb_batch_size(arg1));
}

%pragma(java) jniclasscode=%{
  static {
    NativeLibrary.load();
  }
%}
