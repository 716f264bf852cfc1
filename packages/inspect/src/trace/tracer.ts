import type { MapName } from '@heddle/datapath';
import { formatEndpoint } from '@heddle/sys';
import { type Dump, elementsOf } from '../dump/dump.ts';
import { programTags } from '../dump/tags.ts';
import type { DecodedFields } from './decode.ts';
import type { ObjectName, TracedNode } from './node.ts';
import { PodNetwork } from './pods.ts';
import { type Note, Recorder } from './recorder.ts';
import type { HookTrace, Reason, Step, Verdict } from './result.ts';
import { StepDescriber, sourceText } from './step-describer.ts';

/** The steps of a program and its result. */
export interface RecordedRun<Result> {
  readonly result: Result;
  readonly steps: readonly Step[];
  /** The reason of a refusal or drop, if there was one. */
  readonly reason: Reason | undefined;
}

const counters = {
  socket: ['refusals', 'refusal_reason'],
  node: ['drops', 'drop_reason'],
  xdp: ['drops', 'drop_reason'],
  pod: ['drops', 'drop_reason'],
} as const satisfies Record<ObjectName, readonly [map: MapName, kind: string]>;

/** Runs programs and keeps their traces, for socket calls and for packets. */
export class Tracer {
  readonly dump: Dump;
  readonly node: TracedNode;
  /** Sentences on what the trace can't know. */
  readonly notes: string[] = [];
  readonly hooks: HookTrace[] = [];
  readonly pods: PodNetwork;
  readonly #withLines: boolean;

  constructor(dump: Dump, node: TracedNode, withLines: boolean) {
    this.dump = dump;
    this.node = node;
    this.pods = new PodNetwork(dump);
    this.#withLines = withLines;
  }

  /** Runs `work`, in which a program of an object runs, and returns what the program did. */
  record<Result>(object: ObjectName, work: () => Result): RecordedRun<Result> {
    const recorder = new Recorder(this.node.host.machine, this.#withLines);
    const result = recorder.during(work);
    const words = new StepDescriber(this.dump, this.node.specs[object]!);
    const [map, kind] = counters[object];
    const number = numberOf(recorder.notes, map);
    // A rule that denies is looked up last, to count the connection.
    const rule = numberOf(recorder.notes, 'policy_rules');
    return {
      result,
      steps: recorder.notes.map((note): Step => {
        if (note.kind === 'access') return { kind: 'entry', ...words.access(note) };
        if (note.kind === 'route') return { kind: 'route', meaning: words.route(note) };
        return { kind: 'line', source: sourceText(note.source) };
      }),
      reason: number === undefined ? undefined : words.reason(kind, number, rule),
    };
  }

  /** Adds the trace of a hook, and compares the program attached there with the one that ran here. */
  passed(
    hook: Pick<HookTrace, 'hook' | 'steps' | 'result' | 'packet'>,
    programId: number | undefined,
    object: ObjectName,
    name: string,
  ): void {
    this.hooks.push({ ...hook, ...this.#attached(hook.hook, programId, object, name) });
  }

  #attached(hook: string, programId: number | undefined, object: ObjectName, name: string) {
    const program = programId === undefined ? undefined : this.dump.programs.get(programId);
    if (!program) {
      this.#note(
        `the program attached at ${hook} is not known: the program of the object ran here`,
      );
      return {};
    }
    const { id, tag } = program;
    const spec = this.node.specs[object]!;
    const tags = this.dump.tags.get(object)?.[name] ?? programTags(spec, spec.programs.get(name)!);
    if (!tags) return { program: { id, tag } };
    const same = tags.includes(tag);
    if (!same) {
      this.#note(
        `the program attached at ${hook} (id ${id}, tag ${tag}) differs from the program that ran here (tag ${tags.join(' or ')}): run the heddle of the agent's version`,
      );
    }
    return { program: { id, tag }, same };
  }

  /** Adds a note once; a packet may pass the same hook more than once. */
  #note(note: string): void {
    if (!this.notes.includes(note)) this.notes.push(note);
  }

  /** Returns the verdict of a translation, with the other candidates of a random choice. */
  translated(sentOut: string, address: string, port: number, steps: readonly Step[]): Verdict {
    const alternatives = this.#alternatives(steps, address, port);
    const others = alternatives.map((each) => formatEndpoint(each.address, each.port));
    const more = others.length > 5 ? ` and ${others.length - 5} more` : '';
    const random =
      others.length === 0
        ? ''
        : ` (chosen at random; other candidates: ${others.slice(0, 5).join(', ')}${more})`;
    const text = `${sentOut} to ${formatEndpoint(address, port)}${random}`;
    const moved = { outcome: 'translated', text, address, port } as const;
    return alternatives.length === 0 ? moved : { ...moved, alternatives };
  }

  /** Returns the other backends in the slot range, if the choice was random. */
  #alternatives(steps: readonly Step[], address: string, port: number) {
    const entries = steps.filter((step) => step.kind === 'entry');
    const service = entries.findLast(({ map, value }) => map === 'services' && value)?.value;
    const slots = entries.filter(({ map }) => map === 'slots');
    const { algorithm, first_slot: first, slot_count: count } = (service ?? {}) as DecodedFields;
    const isRandom =
      algorithm === 'ALGORITHM_RANDOM' || algorithm === 'ALGORITHM_LEAST_CONNECTIONS';
    // A backend that affinity remembers is not looked up in the slot range.
    if (!isRandom || slots.length === 0) return [];
    const ids = new Set<number>();
    for (const [key, value] of elements(this.dump, 'slots')) {
      if (key >= Number(first) && key < Number(first) + Number(count)) {
        ids.add(new DataView(value.buffer, value.byteOffset).getUint32(0, true));
      }
    }
    const words = new StepDescriber(this.dump, this.node.specs.socket);
    const found = new Map<string, { address: string; port: number }>();
    for (const [key, value] of elements(this.dump, 'backends')) {
      if (!ids.has(key)) continue;
      const backend = words.access({
        ...{ kind: 'access', map: 'backends', action: 'lookup', value },
        key: new Uint8Array(new Uint32Array([key]).buffer),
      });
      const fields = backend.value as DecodedFields;
      const each = { address: `${fields.address}`, port: Number(fields.port) };
      if (each.address !== address || each.port !== port) {
        found.set(formatEndpoint(each.address, each.port), each);
      }
    }
    return [...found.values()];
  }
}

/** Returns the elements of an array, or of a map with a number as its key. */
export function elements(dump: Dump, name: MapName): [key: number, value: Uint8Array][] {
  return elementsOf(dump, name).map(([key, value]) => [
    new DataView(key.buffer, key.byteOffset).getUint32(0, true),
    value,
  ]);
}

/** Returns the last key that was looked up in a map of counters. */
function numberOf(notes: readonly Note[], map: MapName): number | undefined {
  const found = notes.findLast((note) => note.kind === 'access' && note.map === map);
  if (found?.kind !== 'access') return undefined;
  return new DataView(found.key.buffer, found.key.byteOffset).getUint32(0, true);
}
