// Package native is libagx as SWIG gives it: agxnative.go, agx_wrap.c and agx_bind.* are written by
// generate.sh and not edited. What is by hand says where the library is, and takes calls back.
package native

/*
#cgo !static pkg-config: agx
#cgo static pkg-config: --static agx
#cgo static LDFLAGS: -static
*/
import "C"
