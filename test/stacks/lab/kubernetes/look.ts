/** What a test looks at in a lab's cluster. */
import {
  ApiextensionsV1Api,
  AppsV1Api,
  CoreV1Api,
  CustomObjectsApi,
  type KubeConfig,
  type V1Pod,
} from '@kubernetes/client-node'

export const core = (api: KubeConfig): CoreV1Api => api.makeApiClient(CoreV1Api)
export const apps = (api: KubeConfig): AppsV1Api => api.makeApiClient(AppsV1Api)

const isReady = ({ metadata, status }: V1Pod): boolean =>
  metadata?.deletionTimestamp === undefined &&
  (status?.conditions ?? []).some((found) => found.type === 'Ready' && found.status === 'True')

/** Those that are ready and stay. */
export const readyPods = async (api: KubeConfig, namespace: string, name: string): Promise<V1Pod[]> => {
  const { items } = await core(api).listNamespacedPod({ namespace, labelSelector: `app.kubernetes.io/name=${name}` })
  return items.filter(isReady)
}

/** As the pods reach it; this machine has a way there too. */
export const serviceUrl = async (api: KubeConfig, namespace: string, name: string): Promise<string> => {
  const { spec } = await core(api).readNamespacedService({ name, namespace })
  return `http://${spec?.clusterIP}:${spec?.ports?.[0]?.port}`
}

/** Phases, restarts and last words of every pod: for whoever reads why a test failed. */
export const podReport = async (api: KubeConfig, namespace: string): Promise<string> => {
  const { items } = await core(api).listNamespacedPod({ namespace })
  const parts = items.map(async ({ metadata, status }) => {
    const name = metadata?.name ?? ''
    const all = [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])]
    const states = all.map((found) => `${found.name}: ${JSON.stringify(found.state)} restarts ${found.restartCount}`)
    const logs = all.map(async ({ name: container }) => {
      const request = { name, namespace, container, tailLines: 15 }
      return `--- ${name}/${container}\n${await core(api).readNamespacedPodLog(request).catch(String)}`
    })
    return [`${name} ${status?.phase}`, ...states, ...(await Promise.all(logs))].join('\n')
  })
  return (await Promise.all(parts)).join('\n')
}

/** A volume on the node, as a cluster without a provisioner has them. @param path exists */
export const makeVolume = async (api: KubeConfig, name: string, path: string): Promise<void> => {
  const hostname = { key: 'kubernetes.io/hostname', operator: 'In', values: ['node1'] }
  await core(api).createPersistentVolume({
    body: {
      metadata: { name },
      spec: {
        capacity: { storage: '1Gi' },
        accessModes: ['ReadWriteOnce'],
        persistentVolumeReclaimPolicy: 'Retain',
        storageClassName: 'lab',
        local: { path },
        nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [hostname] }] } },
      },
    },
  })
}

const monitors = { group: 'monitoring.coreos.com', version: 'v1', plural: 'servicemonitors' }

/** As Prometheus Operator does, whose resource takes anything here. */
export const defineMonitors = async (api: KubeConfig): Promise<void> => {
  const { group, version, plural } = monitors
  // The client's own name for `x-kubernetes-preserve-unknown-fields`; it sends no other.
  const schema = { openAPIV3Schema: { type: 'object', x_kubernetes_preserve_unknown_fields: true } }
  await api.makeApiClient(ApiextensionsV1Api).createCustomResourceDefinition({
    body: {
      metadata: { name: `${plural}.${group}` },
      spec: {
        group,
        scope: 'Namespaced',
        names: { plural, singular: 'servicemonitor', kind: 'ServiceMonitor' },
        versions: [{ name: version, served: true, storage: true, schema }],
      },
    },
  })
}

export const monitorNames = async (api: KubeConfig, namespace: string): Promise<(string | undefined)[]> => {
  const list = await api.makeApiClient(CustomObjectsApi).listNamespacedCustomObject({ ...monitors, namespace })
  return (list as { items: { metadata: { name?: string } }[] }).items.map(({ metadata }) => metadata.name)
}
