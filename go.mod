module stamp

go 1.26.0
