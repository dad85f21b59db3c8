module echo-model

go 1.26.0
