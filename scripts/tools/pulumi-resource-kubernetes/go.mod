module forkyard/tools/pulumi-resource-kubernetes

go 1.26

require github.com/pulumi/pulumi-kubernetes/provider/v4 v4.0.0-20250208124925-8fcbabc892ae
