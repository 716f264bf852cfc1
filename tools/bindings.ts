// The TypeScript side of bpf/abi.h, from the BTF of the compiled objects.
import { readFileSync } from 'node:fs';
import { generateBindings as generate, readObject } from '@heddle/ebpf';
import { root } from './files.ts';

/** Where the bindings are written, relative to the root. */
export const bindingsFile = 'packages/datapath/src/generated/abi.ts';

/** Text of the bindings file as the committed objects make it. */
export function generateBindings(): string {
  const objects = ['socket', 'stale', 'node'].map((name) =>
    readObject(new Uint8Array(readFileSync(`${root}packages/datapath/objects/${name}.o`))),
  );
  return generate(objects, {
    maps: true,
    structs: ['socket_config', 'stale_socket', 'node_config', 'drop_event', 'crc32c_powers'],
    enums: [
      'heddle_abi',
      'address_role',
      'refusal_reason',
      'service_flags',
      'ct_state',
      'interface_role',
      'drop_reason',
      'ct_event',
      'source_range',
    ],
    header: ['Generated from bpf/abi.h by `npm run generate`; not edited by hand.'],
  });
}
