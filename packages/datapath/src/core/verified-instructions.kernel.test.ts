import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type Feature,
  features,
  LinuxBpf,
  loadObject,
  type ObjectSpec,
  readObject,
} from '@heddle/ebpf';
import { nodePlatform } from '@heddle/sys/node';
import { testNat } from '../../testing/nat.ts';
import { objects, sizes } from '../../testing/world.ts';
import { configuredNetkit, configuredNode, configuredSocket } from '../configured-objects.ts';
import type { DatapathOptions } from '../datapath-options.ts';
import { kernelFields } from '../sockets/kernel-fields.ts';

/**
 * The limit of instructions that the verifier visits to load a program: about 1.3 times the number on that of Linux
 * 6.1, 6.12, 6.18 and 7.2 that visits most. A kernel visits the same number each time. 100,000 take some 0.15 s of the
 * agent's start.
 */
const limits: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  socket: {
    connect4: 44_000,
    sendmsg4: 70_000,
    recvmsg4: 11_000,
    getpeername4: 10_000,
    bind4: 200,
    connect6: 44_000,
    sendmsg6: 70_000,
    recvmsg6: 11_000,
    getpeername6: 10_000,
    bind6: 400,
    sock_release: 100,
  },
  node: {
    node_ingress: 210_000,
    node_egress: 76_000,
    from_tunnel: 265_000,
    rebuild_ct_index: 22_000,
    flush_ct_entry: 4200,
    start_gc: 5000,
  },
  xdp: { node_xdp: 125_000 },
  pod: { from_pod: 330_000, to_pod: 134_000 },
  netkit: { from_pod: 330_000, to_pod: 134_000 },
  stale: { stale_sockets: 300, connection_over: 100, destroy_tcp: 200, destroy_udp: 200 },
};

const platform = nodePlatform(() => {});
const bpf = new LinuxBpf(platform);
/** Programs that some kernels cannot load, by the feature that they need; the agent does without them there. */
const needs: Readonly<Record<string, Feature>> = {
  stale_sockets: 'iter/bpf_sk_storage_map',
  destroy_tcp: 'kfunc/bpf_sock_destroy',
  destroy_udp: 'kfunc/bpf_sock_destroy',
};
/** The option that most code depends on. */
const network = { tunnelPort: 8472, visibility: true };
const options = { platform, sizes, netnsCookie: 1n, nat: testNat, network } as DatapathOptions;
const configure: Readonly<Record<string, (spec: ObjectSpec) => ObjectSpec>> = {
  socket: (spec) => configuredSocket(spec, options, kernelFields(platform, bpf)),
  node: (spec) => configuredNode(spec, options),
  xdp: (spec) => configuredNode(spec, options),
  pod: (spec) => configuredNode(spec, options),
  netkit: (spec) => configuredNetkit(configuredNode(spec, options), options),
  stale: (spec) => spec,
};

for (const [name, programs] of Object.entries(limits)) {
  test(`the verifier visits no more instructions of the programs of ${name} than are allowed`, () => {
    const spec = configure[name]!(readObject(objects(name === 'netkit' ? 'pod' : name)));
    assert.deepEqual(
      [...spec.programs.keys()].sort(),
      Object.keys(programs).sort(),
      `each program of ${name} has a limit in ${import.meta.filename}`,
    );
    using object = loadObject(bpf, spec, {
      programs: Object.keys(programs).filter(
        (program) => !needs[program] || features(bpf).has(needs[program]),
      ),
    });
    const visited = Array.from(
      object.programs,
      ([program, { info }]) => [program, Number(info.verifiedInstructions)] as const,
    );
    const excess = visited.filter(([program, count]) => !(count <= programs[program]!));
    assert.deepEqual(
      excess,
      [],
      `The verifier visits more instructions than ${import.meta.filename} allows (program, count). ` +
        'Each branch whose outcome it remembers doubles what follows: make an inlined function a GLOBAL one, ' +
        'or have a loop keep one unknown number in place of several states, as udp_peer_by_backend does. ' +
        'Raise a limit only for work that the program needs.',
    );
  });
}
