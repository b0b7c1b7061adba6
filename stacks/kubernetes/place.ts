/** Where the components of a cluster are: its provider, its namespace, and the site that the services' configurations are made for. */
import type * as k8s from '@pulumi/kubernetes'
import type * as pulumi from '@pulumi/pulumi'
import type { Site } from '../site.ts'
import type { KubernetesConfig } from './config.ts'

export interface ClusterPlace {
  readonly provider: k8s.Provider
  /** Things in it are made after it, and gone before it. */
  readonly namespace: k8s.core.v1.Namespace
  readonly settings: KubernetesConfig
  /** As the pods see it. */
  readonly site: Site
  /** This machine, on which images are built. */
  readonly workshop: Site
}

/** Of a resource in the cluster. */
export const inCluster = (
  { provider }: Pick<ClusterPlace, 'provider'>,
  parent: pulumi.Resource,
  dependsOn: pulumi.Input<pulumi.Resource>[] = [],
): pulumi.CustomResourceOptions => ({ provider, parent, dependsOn })

/** Of pods, and of what chooses them. */
export const podLabels = (name: string) => ({
  'app.kubernetes.io/name': name,
  'app.kubernetes.io/part-of': 'forkyard',
})

/**
 * The cluster notes who has set each field. Always the same, for an engine that was killed may have made what the next one makes again; and what
 * somebody else has set meanwhile, it sets again.
 */
export const fieldOwner = { 'pulumi.com/patchFieldManager': 'forkyard', 'pulumi.com/patchForce': 'true' }

/** With its own name; the namespace tells installations apart. */
const named = ({ namespace }: ClusterPlace, name: string) => ({
  name,
  namespace: namespace.metadata.name,
  labels: podLabels(name),
  annotations: fieldOwner,
})

/** Of what runs: made once it is ready, gone once its pods are. */
export const workloadMetadata = named

/**
 * Of what is there as soon as the cluster says so, and gone as soon as it is deleted. By default the cluster deletes a thing after what depends
 * on it, a moment later: the provider looks, sees it, begins to watch, and when it went in between it waits for ten minutes.
 */
export const metadata = (place: ClusterPlace, name: string) => ({
  ...named(place, name),
  annotations: { ...fieldOwner, 'pulumi.com/skipAwait': 'true', 'pulumi.com/deletionPropagationPolicy': 'background' },
})
