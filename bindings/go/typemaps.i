/* Go's types for what crosses the boundary. A text is a *byte to bytes that end in a NUL, nil for
 * NULL; it is Go's own memory, and the callee copies. SWIG's own strings would be copied on the way
 * by malloc, and know no NULL. */

/* A word of Go, and the name of a member of a struct that is ignored. */
%namewarn("") "type";

%define AGX_HANDLE(TYPE)
%typemap(gotype) TYPE*, const TYPE* "uintptr"
%typemap(in) TYPE*, const TYPE* %{ $1 = ($1_ltype)$input; %}
%typemap(out) TYPE* %{ $result = $1; %}
%typemap(gotype) TYPE** "*uintptr"
%typemap(in) TYPE** %{ $1 = ($1_ltype)$input; %}
%enddef

%define AGX_IN(GO, C)
%typemap(gotype) C GO
%typemap(in) C %{ $1 = ($1_ltype)$input; %}
%typemap(freearg) C ""
%typemap(argout) C ""
%enddef

AGX_IN("*byte", char*)
AGX_IN("*byte", const char*)
AGX_IN("*unsafe.Pointer", const char**)
AGX_IN("*int32", int*)
AGX_IN("*int64", int64_t*)
AGX_IN("*uint64", uint64_t*)
AGX_IN("*uint64", size_t*)
AGX_IN("unsafe.Pointer", const void*)
%typemap(out) const void* %{ $result = ($1_ltype)$1; %}

/* Static or the thread's, and copied at once: SWIG's strings come with Go that `go vet` refuses. */
%typemap(gotype) const char* agx_last_error, const char* agx_last_error_entry, const char* agx_status_string,
                 const char* agx_version_string, const char* agx_group_consumer_name "unsafe.Pointer"
%typemap(out) const char* agx_last_error, const char* agx_last_error_entry, const char* agx_status_string,
              const char* agx_version_string, const char* agx_group_consumer_name %{ $result = (char*)$1; %}
%typemap(goout) const char* agx_last_error, const char* agx_last_error_entry, const char* agx_status_string,
                const char* agx_version_string, const char* agx_group_consumer_name ""
