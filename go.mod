module github.com/godlm/godlm

go 1.26
