module github.com/foreshadow/foreshadow/deployments/tools

go 1.26
