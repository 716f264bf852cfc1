import type { MessageInitShape } from '@bufbuild/protobuf';
import { EmptySchema } from '@bufbuild/protobuf/wkt';
import { type CallOptions, createClient, type Transport } from '@connectrpc/connect';
import { type GetFlowsRequestSchema, Observer } from '@heddle/hubble/messages';
import { Cursor } from './cursor.ts';

/** An answer to GetFlows whose flow is not decoded yet. */
export type RawAnswer =
  | { readonly kind: 'flow'; readonly bytes: Uint8Array }
  | { readonly kind: 'lost'; readonly bytes: Uint8Array };

/** The numbers of the fields of GetFlowsResponse. */
const [flowField, lostField] = [1, 3];

/** The method GetFlows with answers without known fields: the library keeps their bytes as they are. */
const getFlows = { ...Observer.method.getFlows, output: EmptySchema };
const service = { ...Observer, methods: [getFlows], method: { getFlows } };

/** Returns the answers to a request, without the time that decoding takes. Throws ConnectError. */
export async function* rawFlows(
  transport: Transport,
  request: MessageInitShape<typeof GetFlowsRequestSchema>,
  options: CallOptions,
): AsyncGenerator<RawAnswer> {
  const client = createClient(service, transport);
  for await (const { $unknown: fields } of client.getFlows(request, options)) {
    for (const { no, wireType: type, data } of fields ?? []) {
      if (type !== 2 || (no !== flowField && no !== lostField)) continue;
      const cursor = new Cursor(Buffer.from(data.buffer, data.byteOffset, data.byteLength));
      const end = cursor.endOfBytes();
      yield { kind: no === flowField ? 'flow' : 'lost', bytes: data.subarray(cursor.at, end) };
    }
  }
}
