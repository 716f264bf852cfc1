import { create, type DescField, type DescMessage, type Message } from '@bufbuild/protobuf';
import { isWrapperDesc } from '@bufbuild/protobuf/wkt';
import { type Flow, FlowSchema } from '../generated/flow/flow_pb.js';

/** The fields that a mask selects; a field without a list is selected as a whole. */
interface Selection {
  readonly field: DescField;
  readonly within: Selection[] | undefined;
}

/** The most paths of a mask. */
const pathsMax = 500;

/** A mask that cannot be used. The message names the path. */
export class FieldMaskError extends Error {
  override readonly name = 'FieldMaskError';
}

/**
 * Compiles the paths of a field mask, e.g. `source.pod_name`. The result returns a flow that has only these
 * fields. Throws FieldMaskError that names the path.
 */
export function fieldMask(paths: readonly string[]): (flow: Flow) => Flow {
  if (paths.length === 0) return (flow) => flow;
  if (paths.length > pathsMax) {
    throw new FieldMaskError(`field mask: ${paths.length} paths; at most ${pathsMax} are allowed`);
  }
  const selections = select(
    FlowSchema,
    paths.map((path) => ({ path, names: path.split('.') })),
  );
  return (flow) => project(FlowSchema, flow, selections) as Flow;
}

interface Path {
  readonly path: string;
  /** The names that are left. */
  readonly names: readonly string[];
}

function select(message: DescMessage, paths: readonly Path[]): Selection[] {
  const byName = new Map<string, Path[]>();
  for (const each of paths) {
    const name = each.names[0]!;
    byName.set(name, [...(byName.get(name) ?? []), each]);
  }
  return [...byName].map(([name, own]) => {
    const field = message.fields.find((each) => each.name === name);
    const [{ path }] = own as [Path];
    if (!field) {
      throw new FieldMaskError(`field mask: "${path}": ${message.typeName} has no field "${name}"`);
    }
    if (own.some(({ names }) => names.length === 1)) return { field, within: undefined };
    if (field.fieldKind !== 'message' || isWrapperDesc(field.message)) {
      throw new FieldMaskError(`field mask: "${path}": "${name}" has no fields`);
    }
    const rest = own.map((each) => ({ path: each.path, names: each.names.slice(1) }));
    return { field, within: select(field.message, rest) };
  });
}

type Values = Record<string, unknown>;

function project(type: DescMessage, message: Message, selections: readonly Selection[]): Message {
  const [from, to] = [message as unknown as Values, create(type) as unknown as Values];
  for (const { field, within } of selections) {
    const part = (value: unknown) =>
      within === undefined || value === undefined || field.fieldKind !== 'message'
        ? value
        : project(field.message, value as Message, within);
    const choice =
      field.oneof && (from[field.oneof.localName] as { case?: string; value?: unknown });
    if (!choice) {
      to[field.localName] = part(from[field.localName]);
    } else if (choice.case === field.localName) {
      to[field.oneof!.localName] = { case: choice.case, value: part(choice.value) };
    }
  }
  return to as unknown as Message;
}
