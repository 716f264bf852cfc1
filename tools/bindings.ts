// Generates the TypeScript bindings of the ABI from the BTF of the compiled objects.
import { readFileSync } from 'node:fs';
import { generateBindings as generate, readObject } from '@heddle/ebpf';
import { root } from './files.ts';

/** The path of the bindings, relative to the root. */
export const bindingsFile = 'packages/datapath/src/generated/abi.ts';

/** Returns the bindings file that the committed objects give. */
export function generateBindings(): string {
  const objects = ['socket', 'stale', 'node', 'pod'].map((name) =>
    readObject(new Uint8Array(readFileSync(`${root}packages/datapath/objects/${name}.o`))),
  );
  return generate(objects, {
    maps: true,
    structs: [
      'socket_config',
      'stale_socket',
      'node_config',
      'pod_config',
      'drop_event',
      'policy_verdict',
      'crc32c_powers',
    ],
    enums: [
      'heddle_abi',
      'address_role',
      'refusal_reason',
      'service_flags',
      'ct_state',
      'interface_role',
      'pod_kind',
      'drop_reason',
      'ct_event',
      'source_range',
      'masquerade',
      'node_path',
      'policy_action',
      'policy_port_class',
      'policy_deny_response',
      'policy_direction',
      'policy_outcome',
    ],
    header: ['Generated from bpf/abi.h by `npm run generate`; not edited by hand.'],
  });
}
