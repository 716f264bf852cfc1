import type { Fields } from '@heddle/objects';

/** Facts about a policy's text that its record does not have. */
export interface RawRemarks {
  /** Fields that Heddle does not know, with their places: `spec.ingress[0].form`. */
  readonly unknownFields: readonly string[];
  /** Ports of a NetworkPolicy without a protocol, as `spec.ingress[0].ports[1]`. */
  readonly portsWithoutProtocol: readonly string[];
}

type Value = Readonly<Record<string, unknown>>;

const isMap = (value: unknown): value is Value =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Returns the remarks about a policy as it is written. `fields` are those of its kind. */
export function rawRemarks(value: unknown, fields: Fields): RawRemarks {
  const unknownFields: string[] = [];
  const portsWithoutProtocol: string[] = [];
  const spec = isMap(value) ? value.spec : undefined;
  if (fields !== true && isMap(spec)) collect(spec, fields.spec ?? true, 'spec', unknownFields);
  if (isMap(value) && value.kind === 'NetworkPolicy' && isMap(spec)) {
    for (const direction of ['ingress', 'egress']) {
      for (const [i, rule] of items(spec[direction]).entries()) {
        for (const [k, port] of items(isMap(rule) ? rule.ports : undefined).entries()) {
          if (!isMap(port) || port.port === undefined || port.port === null) continue;
          if (port.protocol === undefined || port.protocol === null) {
            portsWithoutProtocol.push(`spec.${direction}[${i}].ports[${k}]`);
          }
        }
      }
    }
  }
  return { unknownFields, portsWithoutProtocol };
}

function items(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function collect(value: unknown, fields: Fields, at: string, into: string[]): void {
  if (fields === true) return;
  if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) collect(item, fields, `${at}[${i}]`, into);
  } else if (isMap(value)) {
    for (const [name, inner] of Object.entries(value)) {
      const known = fields[name];
      if (known === undefined) into.push(`${at}.${name}`);
      else collect(inner, known, `${at}.${name}`, into);
    }
  }
}
