module stamp.example/receivers/go

go 1.25.0
