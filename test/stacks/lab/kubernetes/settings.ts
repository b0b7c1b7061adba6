/** Texts of the files that the components of a lab's cluster are started with. */
import { join } from 'node:path'

/** One node, and what it has to know of the cluster. */
export interface NodePlace {
  readonly name: string
  /** Of the node alone; `pki` in it leads to that of the cluster. */
  readonly dir: string
  /** Root of the extracted Debian packages. */
  readonly debian: string
  readonly address: string
  /** Address of the node that is the control plane too. */
  readonly control: string
  /** Addresses of this node's pods, of all pods, of services. */
  readonly pods: string
  readonly allPods: string
  readonly services: string
  /** Control group of everything that runs on the node; what runs there sees it as the root of all. */
  readonly group: string
}

export const pauseImage = 'lab.invalid/pause:1'

const containerd = ({ dir, debian }: NodePlace): string => `version = 2
root = "${dir}/containerd/root"
state = "${dir}/containerd/state"
disabled_plugins = [${['btrfs', 'zfs', 'devmapper', 'aufs'].map((name) => `"io.containerd.snapshotter.v1.${name}"`).join(', ')}, "io.containerd.internal.v1.opt"]
[grpc]
  address = "${dir}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${pauseImage}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "${debian}/usr/sbin/runc"
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${debian}/usr/lib/cni"
    conf_dir = "${dir}/cni"
`

const network = ({ dir, pods }: NodePlace): string =>
  JSON.stringify({
    cniVersion: '0.4.0',
    name: 'lab',
    plugins: [
      {
        type: 'bridge',
        bridge: 'pods',
        isGateway: true,
        ipMasq: false,
        hairpinMode: true,
        ipam: {
          type: 'host-local',
          dataDir: join(dir, 'cni-addresses'),
          ranges: [[{ subnet: pods }]],
          routes: [{ dst: '0.0.0.0/0' }],
        },
      },
    ],
  })

/** JSON, which is YAML. */
const kubelet = ({ dir, name, control }: NodePlace): string =>
  JSON.stringify({
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    failCgroupV1: false,
    failSwapOn: false,
    cgroupDriver: 'cgroupfs',
    cgroupRoot: '/',
    containerRuntimeEndpoint: `unix://${dir}/containerd.sock`,
    imageServiceEndpoint: `unix://${dir}/containerd.sock`,
    podLogsDir: join(dir, 'pod-logs'),
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: join(dir, 'pki/ca.crt') },
    },
    authorization: { mode: 'Webhook' },
    tlsCertFile: join(dir, `pki/${name}.crt`),
    tlsPrivateKeyFile: join(dir, `pki/${name}.key`),
    resolvConf: '/etc/resolv.conf',
    clusterDNS: [control],
    clusterDomain: 'cluster.local',
    enforceNodeAllocatable: ['pods'],
    oomScoreAdj: 0,
    localStorageCapacityIsolation: true,
    evictionHard: { 'memory.available': '50Mi', 'nodefs.available': '1%', 'imagefs.available': '1%' },
    imageGCHighThresholdPercent: 100,
    syncFrequency: '5s',
    nodeStatusUpdateFrequency: '5s',
    protectKernelDefaults: false,
    makeIPTablesUtilChains: false,
  })

const proxy = ({ dir, name, allPods }: NodePlace): string =>
  JSON.stringify({
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    mode: 'nftables',
    clientConnection: { kubeconfig: join(dir, 'admin.kubeconfig') },
    clusterCIDR: allPods,
    hostnameOverride: name,
    conntrack: { maxPerCore: 0, min: 0 },
  })

const names = ({ dir, address }: NodePlace): string => `.:53 {
  bind ${address}
  errors
  kubernetes cluster.local in-addr.arpa {
    kubeconfig ${dir}/admin.kubeconfig
    pods insecure
  }
}
`

const kubeconfig = ({ dir, control }: NodePlace, user: string): string => {
  const pki = (file: string) => join(dir, 'pki', file)
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'lab', cluster: { server: `https://${control}:6443`, 'certificate-authority': pki('ca.crt') } }],
    users: [{ name: user, user: { 'client-certificate': pki(`${user}.crt`), 'client-key': pki(`${user}.key`) } }],
    contexts: [{ name: 'lab', context: { cluster: 'lab', user } }],
    'current-context': 'lab',
  })
}

/** By path below the node's directory. */
export const settingsFiles = (place: NodePlace): Readonly<Record<string, string>> => ({
  'containerd.toml': containerd(place),
  'cni/10-lab.conflist': network(place),
  'kubelet.yaml': kubelet(place),
  'proxy.yaml': proxy(place),
  Corefile: names(place),
  ...Object.fromEntries(
    ['admin', 'controllers', 'scheduler'].map((user) => [`${user}.kubeconfig`, kubeconfig(place, user)]),
  ),
  'kubelet.kubeconfig': kubeconfig(place, place.name),
})
