import assert from 'node:assert/strict';
import { type ObjectChange, type PolicyInput, policyReader } from '@heddle/objects';

// Makes records for tests from short texts.

/** Returns the record of an object; fails the test if the object is invalid or ignored. */
export function recordOf(object: unknown): PolicyInput {
  const read = policyReader.read(object);
  assert.ok('record' in read, JSON.stringify(read));
  return read.record;
}

/** Returns the changes that set these objects. */
export function set(...objects: readonly unknown[]): readonly ObjectChange<PolicyInput>[] {
  return objects.map((object) => ({ op: 'set', object: recordOf(object) }));
}

/** Returns labels from `app=web,tier=front`. */
export function labels(text = ''): Record<string, string> {
  const pairs = text.split(',').filter((pair) => pair !== '');
  return Object.fromEntries(pairs.map((pair) => pair.split('=') as [string, string]));
}

/** Returns a selector of labels from the same text. */
export function selector(text = ''): object {
  return { matchLabels: labels(text) };
}

interface PodFields {
  readonly labels?: string;
  /** By default `n1`. */
  readonly node?: string;
  readonly created?: string;
  readonly phase?: string;
  readonly hostNetwork?: boolean;
  /** Named ports such as `web=80/TCP,dns=53/UDP`. */
  readonly ports?: string;
}

/** Returns a Pod from its key (`namespace/name`) and its addresses, with commas between. */
export function pod(key: string, addresses: string, more: PodFields = {}): object {
  const [namespace, name] = key.split('/');
  const ports = Object.entries(labels(more.ports)).map(([port, text]) => {
    const [number, protocol = 'TCP'] = text.split('/');
    return { name: port, containerPort: Number(number), protocol };
  });
  const podIPs = addresses.split(',').map((ip) => ({ ip }));
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      ...{ namespace, name, labels: labels(more.labels) },
      creationTimestamp: more.created ?? '2026-01-01T00:00:00Z',
    },
    spec: {
      nodeName: more.node ?? 'n1',
      hostNetwork: more.hostNetwork ?? false,
      // A port's name is unique within its container only.
      containers: ports.map((port) => ({ ports: [port] })),
    },
    status: { phase: more.phase ?? 'Running', podIPs },
  };
}

/** Returns a Node. */
export function node(name: string, addresses: string, text = ''): object {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels: labels(text) },
    status: {
      addresses: addresses.split(',').map((address) => ({ type: 'InternalIP', address })),
    },
  };
}
