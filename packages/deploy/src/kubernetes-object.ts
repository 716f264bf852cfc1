import type { Yaml } from './yaml.ts';

/** A Kubernetes object. */
export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly [field: string]: Yaml };
  readonly [field: string]: Yaml;
}

/** The name of the objects that run the agents, and the labels of their pods. */
export const name = 'heddle';
export const labels = { 'app.kubernetes.io/name': name };

/** The ports of observers: Hubble's. */
export const observerPorts = { api: 4244, metrics: 9965 };
