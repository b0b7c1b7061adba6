module forkyard/tools/pulumi-resource-command

go 1.26

require (
	github.com/pulumi/pulumi-command/provider v0.0.0-20240112221901-2fe00b62fa4d
	github.com/pulumi/pulumi-go-provider v0.16.0
)
