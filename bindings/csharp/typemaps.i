/* C#'s types for what agx.h and agx_bind.h have. Everything passes as a number or as an array of
 * bytes, which stays where it is: nothing is converted on the way, and what SWIG would convert texts
 * to is not UTF-8. An array that is null is NULL. What comes of this is internal to the assembly. */

%pragma(csharp) imclassclassmodifiers="internal static class"
%pragma(csharp) moduleclassmodifiers="internal static class"

%define AGX_VALUE(TYPE, CTYPE, CSTYPE)
%typemap(ctype) TYPE "CTYPE"
%typemap(imtype) TYPE "CSTYPE"
%typemap(cstype) TYPE "CSTYPE"
%typemap(csin) TYPE "$csinput"
%typemap(in) TYPE %{ $1 = ($1_ltype)$input; %}
%typemap(out) TYPE %{ $result = (CTYPE)$1; %}
%typemap(csout, excode=SWIGEXCODE) TYPE { return $imcall; }
%enddef

/* A place for one. */
%define AGX_OUT(TYPE, CSTYPE)
%typemap(ctype) TYPE "void*"
%typemap(imtype) TYPE "out CSTYPE"
%typemap(cstype) TYPE "out CSTYPE"
%typemap(csin) TYPE "out $csinput"
%typemap(in) TYPE %{ $1 = ($1_ltype)$input; %}
%enddef

/* Those that go in, and room for those that come out. */
%define AGX_ARRAY(TYPE, CSTYPE)
%typemap(ctype) TYPE "void*"
%typemap(imtype) TYPE "CSTYPE[]"
%typemap(cstype) TYPE "CSTYPE[]"
%typemap(csin) TYPE "$csinput"
%typemap(in) TYPE %{ $1 = ($1_ltype)$input; %}
%enddef

%define AGX_HANDLE(TYPE)
AGX_VALUE(TYPE*, void*, System.IntPtr)
AGX_VALUE(const TYPE*, const void*, System.IntPtr)
AGX_OUT(TYPE**, System.IntPtr)
%enddef

AGX_VALUE(size_t, size_t, ulong)
AGX_OUT(size_t*, ulong)
AGX_VALUE(int64_t, int64_t, long)
AGX_OUT(int64_t*, long)
AGX_OUT(uint64_t*, ulong)
AGX_OUT(int*, int)
AGX_ARRAY(int64_t* numbers, long)

AGX_VALUE(agxb_function, void*, System.IntPtr)
AGX_VALUE(agx_status, int, int)
AGX_VALUE(agx_gone_reason, int, int)
AGX_VALUE(agx_part_kind, int, int)
AGX_VALUE(agx_model_api, int, int)
%ignore agx_log_level;
%ignore agx_status;
%ignore agx_gone_reason;
%ignore agx_part_kind;
%ignore agx_model_api;

AGX_ARRAY(const char*, byte)
AGX_ARRAY(const void*, byte)
AGX_ARRAY(char*, byte)
AGX_OUT(const char**, System.IntPtr)

/* What is returned is no array: it is read where it is. */
%typemap(imtype, out="System.IntPtr") const char*, const void* "byte[]"
%typemap(cstype, out="System.IntPtr") const char*, const void* "byte[]"
%typemap(ctype, out="const void*") const char*, const void* "const void*"
%typemap(out) const char*, const void* %{ $result = (const void*)$1; %}
%typemap(csout, excode=SWIGEXCODE) const char*, const void* { return $imcall; }

/* Part of something larger, such as a buffer that was read into. */
AGX_VALUE(const char* bytes, const void*, System.IntPtr)
