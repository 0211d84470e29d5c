module github.com/libagx/libagx/bench/bindings/go

go 1.19

require github.com/libagx/libagx/bindings/go v0.0.0

replace github.com/libagx/libagx/bindings/go => ../../../bindings/go
