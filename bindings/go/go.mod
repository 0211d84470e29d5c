module github.com/libagx/libagx/bindings/go

go 1.19
