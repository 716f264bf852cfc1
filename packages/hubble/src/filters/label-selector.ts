import { FilterError } from './errors.ts';

/** A label of a flow, `SOURCE:KEY=VALUE`. The source is `unspec` if the text has none. */
export interface FlowLabel {
  readonly source: string;
  readonly key: string;
  readonly value: string;
}

type Operator = 'in' | 'notin' | 'exists' | 'absent' | '>' | '<';

/** A requirement of a selector. The source `any` matches labels of every source. */
interface Requirement {
  readonly source: string;
  readonly key: string;
  readonly operator: Operator;
  readonly values: readonly string[];
}

/** Returns true if the labels meet all requirements of a selector. */
export type LabelMatch = (labels: readonly FlowLabel[]) => boolean;

/** Reads a label as flows have it. */
export function parseLabel(text: string): FlowLabel {
  const equals = text.indexOf('=');
  const name = equals < 0 ? text : text.slice(0, equals);
  const value = equals < 0 ? '' : text.slice(equals + 1);
  if (name.startsWith('$')) return { source: 'reserved', key: name.slice(1), value };
  const colon = name.indexOf(':');
  if (colon >= 0) {
    return { source: name.slice(0, colon) || 'unspec', key: name.slice(colon + 1), value };
  }
  const reserved = 'reserved.';
  return name.startsWith(reserved)
    ? { source: 'reserved', key: name.slice(reserved.length), value }
    : { source: 'unspec', key: name, value };
}

/**
 * Compiles a selector in Kubernetes' syntax: `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b)`, `a`, `!a`,
 * `a>1`, `a<1`, joined by commas. A key may have a source, as in `k8s:app`. Throws FilterError that names
 * `field`.
 */
export function labelSelector(field: string, text: string): LabelMatch {
  const requirements = new SelectorParser(field, text).parse();
  return (labels) => requirements.every((requirement) => meets(requirement, labels));
}

function meets({ source, key, operator, values }: Requirement, labels: readonly FlowLabel[]) {
  const label = labels.find(
    (each) => each.key === key && (source === 'any' || source === each.source),
  );
  switch (operator) {
    case 'in':
      return label !== undefined && values.includes(label.value);
    case 'notin':
      return label === undefined || !values.includes(label.value);
    case 'exists':
      return label !== undefined;
    case 'absent':
      return label === undefined;
    default: {
      if (label === undefined || !integer.test(label.value)) return false;
      const [own, bound] = [BigInt(label.value), BigInt(values[0]!)];
      return operator === '>' ? own > bound : own < bound;
    }
  }
}

const integer = /^-?\d{1,19}$/;
const token = /\s*(==|!=|[=!<>,()]|[^\s=!<>,()]+)/y;
const labelName = /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)$/;
const keyPrefix = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

class SelectorParser {
  readonly #field: string;
  readonly #text: string;
  readonly #tokens: readonly string[];
  #at = 0;

  constructor(field: string, text: string) {
    this.#field = field;
    this.#text = text;
    this.#tokens = [...text.matchAll(new RegExp(token, 'g'))].map((match) => match[1]!);
  }

  parse(): Requirement[] {
    const requirements: Requirement[] = [];
    if (this.#tokens.length === 0) return requirements;
    for (;;) {
      requirements.push(this.#requirement());
      const next = this.#take();
      if (next === undefined) return requirements;
      if (next !== ',') throw this.#error(`"${next}" is not expected; a comma or the end is`);
    }
  }

  #requirement(): Requirement {
    const isAbsent = this.#peek() === '!';
    if (isAbsent) this.#at++;
    const name = this.#key();
    const next = this.#peek();
    if (isAbsent) return { ...name, operator: 'absent', values: [] };
    if (next === undefined || next === ',') return { ...name, operator: 'exists', values: [] };
    this.#at++;
    switch (next) {
      case '=':
      case '==':
        return { ...name, operator: 'in', values: [this.#value()] };
      case '!=':
        return { ...name, operator: 'notin', values: [this.#value()] };
      case 'in':
      case 'notin':
        return { ...name, operator: next, values: this.#list() };
      case '>':
      case '<': {
        const value = this.#value();
        if (!integer.test(value)) throw this.#error(`"${value}" is no integer`);
        return { ...name, operator: next, values: [value] };
      }
      default:
        throw this.#error(`"${next}" is no operator (=, ==, !=, in, notin, >, <)`);
    }
  }

  #key(): { readonly source: string; readonly key: string } {
    const text = this.#take();
    if (text === undefined || isSymbol(text)) throw this.#error('the key of a label is missing');
    const colon = text.indexOf(':');
    const source = colon < 0 ? 'any' : text.slice(0, colon) || 'any';
    const key = text.slice(colon + 1);
    const parts = key.split('/');
    const isValid =
      parts.length <= 2 &&
      labelName.test(parts.at(-1)!) &&
      (parts.length === 1 || keyPrefix.test(parts[0]!));
    if (!isValid) throw this.#error(`"${text}" is not the key of a label`);
    return { source, key };
  }

  /** Reads one value, which may be missing: then it is the empty text. */
  #value(): string {
    const next = this.#peek();
    if (next === undefined || next === ',') return '';
    this.#at++;
    return this.#checked(next);
  }

  #list(): string[] {
    if (this.#take() !== '(') throw this.#error('"(" is missing');
    const values: string[] = [];
    let isAfterComma = true;
    for (;;) {
      const next = this.#take();
      if (next === ')') {
        if (isAfterComma) values.push('');
        return values;
      }
      if (next === ',') {
        if (isAfterComma) values.push('');
        isAfterComma = true;
      } else if (next === undefined) {
        throw this.#error('")" is missing');
      } else if (!isAfterComma) {
        throw this.#error(`"${next}" is not expected; a comma or ")" is`);
      } else {
        values.push(this.#checked(next));
        isAfterComma = false;
      }
    }
  }

  #checked(value: string): string {
    if (isSymbol(value) || !(labelName.test(value) || integer.test(value))) {
      throw this.#error(`"${value}" is not the value of a label`);
    }
    return value;
  }

  #peek(): string | undefined {
    return this.#tokens[this.#at];
  }

  #take(): string | undefined {
    return this.#tokens[this.#at++];
  }

  #error(problem: string): FilterError {
    return new FilterError(this.#field, `selector "${this.#text}": ${problem}`);
  }
}

function isSymbol(text: string): boolean {
  return /^(==|!=|[=!<>,()])$/.test(text);
}
