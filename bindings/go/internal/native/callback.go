package native

/*
#include <stdint.h>

void agx_go_set_function(void);
*/
import "C"

import "unsafe"

// Called is what every call back from C becomes; agx_bind.h says what its arguments are. It is set
// before anything is opened, and does not panic.
var Called func(kind int32, handle uintptr, record unsafe.Pointer, size uint64, attempt int64) int32

//export agxGoCalled
func agxGoCalled(kind int32, handle uintptr, record unsafe.Pointer, size uint64, attempt int64) int32 {
	return Called(kind, handle, record, size, attempt)
}

func init() { C.agx_go_set_function() }
