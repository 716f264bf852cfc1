import type {
  NetworkPolicyRecord,
  PeerRecord,
  PortRecord,
  RuleRecord,
  Selector,
} from '@heddle/objects';
import { Document, isMap, isNode, isSeq, LineCounter, parseDocument } from 'yaml';

/** The text of a NetworkPolicy as Heddle has read it: comments and fields without effect are not in it. */
export interface PolicyText {
  readonly lines: readonly string[];
  /** Returns the first and the last line, from 0, of the value at a path. Throws RangeError if there is none. */
  linesAt(path: readonly (string | number)[]): readonly [first: number, last: number];
}

/** Returns a NetworkPolicy as YAML. Each port is one line. */
export function policyText(policy: NetworkPolicyRecord): PolicyText {
  const document = new Document(policyObject(policy), { aliasDuplicateObjects: false });
  for (const direction of ['ingress', 'egress'] as const) {
    for (const index of (policy[direction] ?? []).keys()) {
      const ports = document.getIn(['spec', direction, index, 'ports']);
      if (!isSeq(ports)) continue;
      for (const port of ports.items) if (isMap(port)) port.flow = true;
    }
  }
  const text = document.toString({ lineWidth: 0 });
  const counter = new LineCounter();
  const parsed = parseDocument(text, { lineCounter: counter });
  return {
    lines: text.trimEnd().split('\n'),
    linesAt: (path) => {
      const node = parsed.getIn(path, true);
      if (!isNode(node) || !node.range)
        throw new RangeError(`there is nothing at ${path.join('.')}`);
      const [start, end] = node.range;
      return [counter.linePos(start).line - 1, counter.linePos(end - 1).line - 1];
    },
  };
}

function policyObject({ namespace, name, pods, ingress, egress }: NetworkPolicyRecord): object {
  const types = [...(ingress ? ['Ingress'] : []), ...(egress ? ['Egress'] : [])];
  return {
    ...{ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy' },
    metadata: { name, namespace },
    spec: {
      ...{ podSelector: selectorObject(pods), policyTypes: types },
      ...(ingress && { ingress: ingress.map((rule) => ruleObject(rule, 'from')) }),
      ...(egress && { egress: egress.map((rule) => ruleObject(rule, 'to')) }),
    },
  };
}

function ruleObject({ peers, ports }: RuleRecord, way: 'from' | 'to'): object {
  return {
    ...(peers && { [way]: peers.map(peerObject) }),
    ...(ports && { ports: ports.map(portObject) }),
  };
}

function peerObject(peer: PeerRecord): object {
  switch (peer.type) {
    case 'range': {
      const { range: cidr, except } = peer;
      return { ipBlock: { cidr, ...(except.length > 0 ? { except } : {}) } };
    }
    case 'pods': {
      const { namespaces, pods } = peer;
      if (!namespaces) return { podSelector: selectorObject(pods) };
      return {
        namespaceSelector: selectorObject(namespaces),
        ...(pods.length > 0 ? { podSelector: selectorObject(pods) } : {}),
      };
    }
    default:
      throw new TypeError(`write NetworkPolicy: it has no peers of the type ${peer.type}`);
  }
}

function portObject(port: PortRecord): object {
  if (port.type === 'name') return { protocol: port.protocol ?? 'TCP', port: port.name };
  const { protocol, first, last } = port;
  if (first <= 1 && last === 65_535) return { protocol };
  return { protocol, port: first, ...(first === last ? {} : { endPort: last }) };
}

function selectorObject(selector: Selector): object {
  const isLabel = ({ operator, values }: Selector[number]) =>
    operator === 'In' && values.length === 1;
  const labels = selector.filter(isLabel);
  const rest = selector.filter((each) => !isLabel(each));
  return {
    ...(labels.length > 0 && {
      matchLabels: Object.fromEntries(labels.map(({ key, values }) => [key, values[0]])),
    }),
    ...(rest.length > 0 && {
      matchExpressions: rest.map(({ key, operator, values }) => ({
        ...{ key, operator },
        ...(values.length > 0 ? { values } : {}),
      })),
    }),
  };
}
