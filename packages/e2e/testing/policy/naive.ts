import assert from 'node:assert/strict';
import type { Addresses } from '@heddle/lab';
import { policyReader } from '@heddle/objects';
import { judge, PolicyWorld } from '@heddle/policy';
import type { ExpectedProbe, PolicyStep } from './policy-case.ts';
import { namespaceObject, podObject } from './policy-lab.ts';

/** Returns the objects of a step for the naive judge, with those of the nodes. */
export function worldOf(
  { namespaces, pods, policies }: PolicyStep,
  nodes: readonly object[],
  addressesOf: (pod: string) => Addresses,
): PolicyWorld {
  const objects = [
    ...nodes,
    ...Array.from(namespaces, ([name, labels]) => namespaceObject(name, labels)),
    ...pods.map((pod) => podObject(pod, addressesOf(`${pod.namespace}/${pod.name}`))),
    ...policies,
  ];
  const world = new PolicyWorld();
  for (const object of objects) {
    const read = policyReader.read(object);
    if ('record' in read) world.apply([{ op: 'set', object: read.record }]);
    else assert.equal(read.kind, 'ignored', JSON.stringify(read));
  }
  return world;
}

/** Returns the probes with the verdicts of the naive judge. */
export function judged(
  world: PolicyWorld,
  probes: readonly ExpectedProbe[],
  addressesOf: (pod: string) => Addresses,
  family: 'v4' | 'v6',
): ExpectedProbe[] {
  return probes.map((probe) => {
    const { from, to, protocol, port } = probe;
    const question = {
      from: addressesOf(from)[family],
      to: addressesOf(to)[family],
      protocol: protocol === 'ICMP' ? ('other' as const) : protocol,
      port,
    };
    return { ...probe, allowed: judge(world, question).allowed };
  });
}
