/** Reads a key or value of a map; the codecs of generated/abi.ts are such. */
export interface MapCodec<Value> {
  readonly size: number;
  readonly decode: (bytes: Uint8Array, offset?: number) => Value;
}

/** A 32-bit number: the key of an array, or a value of one word. */
export const wordCodec: MapCodec<number> = {
  size: 4,
  decode: (bytes, offset = 0) =>
    new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(offset, true),
};

/** An element that a program has looked up, written or deleted, as it was then. */
export interface EntryAccess {
  readonly action: 'lookup' | 'update' | 'delete';
  readonly key: Uint8Array;
  /** It is absent if there was no such element. */
  readonly value?: Uint8Array;
}

/** The parts of a dump that a description of another map needs. */
export interface EntryNames {
  /** Returns `namespace/name` of the service that has a frontend, or undefined if that is not known. */
  readonly service: (address: string, port: number, protocol: string) => string | undefined;
  /** Returns the name of a network interface. */
  readonly networkInterface: (index: number) => string;
  /** Returns `ingress[0] of NetworkPolicy default/web` for the number of a rule, or undefined if it is not known. */
  readonly policyRule: (number: number) => string | undefined;
  /** CLOCK_MONOTONIC of the dump, in nanoseconds. */
  readonly nowNs: bigint;
}

/** An entry of the map catalog. */
export interface MapDescription {
  /** The content of the map, as a phrase. */
  readonly about: string;
  /** The side that writes it. */
  readonly writer: 'agent' | 'programs' | 'both';
  /** True if entries depend on the node's own addresses and interfaces, besides the services. */
  readonly isOfNode: boolean;
  /** True if a dump has the entries. Those of socket storage and ring buffers cannot be read. */
  readonly isDumped: boolean;
  /** Returns what an access means, as a sentence without a full stop, or undefined for mere bookkeeping. */
  readonly describe: (access: EntryAccess, names: EntryNames) => string | undefined;
}

/** The decoded element of an access. */
export interface DecodedAccess<Key, Value> {
  readonly action: EntryAccess['action'];
  readonly key: Key;
  /** Undefined: there was no such element. */
  readonly value: Value | undefined;
}

interface Options {
  readonly isOfNode?: boolean;
  readonly isDumped?: boolean;
}

/** Returns the catalog's entry of a map whose accesses are mere bookkeeping. */
export function undescribed(
  about: string,
  writer: MapDescription['writer'],
  { isOfNode = false, isDumped = true }: Options = {},
): MapDescription {
  return { about, writer, isOfNode, isDumped, describe: () => undefined };
}

/** Returns the catalog's entry of a map with codecs of its keys and values. */
export function described<Key, Value>(
  about: string,
  writer: MapDescription['writer'],
  codecs: { readonly key: MapCodec<Key>; readonly value: MapCodec<Value> } & Options,
  describe: (access: DecodedAccess<Key, Value>, names: EntryNames) => string | undefined,
): MapDescription {
  return {
    ...undescribed(about, writer, codecs),
    describe: ({ action, key, value }, names) =>
      describe(
        {
          action,
          key: codecs.key.decode(key),
          value: value && codecs.value.decode(value),
        },
        names,
      ),
  };
}
