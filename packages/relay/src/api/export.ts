import type { ServerResponse } from 'node:http';
import { responseJson } from '@heddle/hubble';
import { responseOf } from '../traffic/flow-message.ts';
import { ruleText } from '../traffic/links.ts';
import type { RelayFlow } from '../traffic/model.ts';
import { dropsOf } from './drops.ts';
import { mapOf } from './map.ts';
import { ApiProblem, flowsOf, nameOf, type View } from './view.ts';

/** After this many lines the client must have taken what came before. */
const batch = 200;

/** Returns a value as a cell of CSV. Spreadsheets calculate what begins with = + - @, so an apostrophe precedes it. */
export function csvCell(value: string | number): string {
  const text = String(value);
  const safe = /^[=+\-@\t\r]/.test(text) && typeof value === 'string' ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** Sends a view as CSV or JSON lines, as fast as the client takes it. Throws ApiProblem before the first line. */
export async function sendExport(
  view: View,
  parameters: URLSearchParams,
  response: ServerResponse,
): Promise<void> {
  const format = parameters.get('format') ?? 'jsonl';
  const what = parameters.get('view') ?? 'flows';
  const isCsv = format === 'csv';
  if (!isCsv && format !== 'jsonl') {
    throw new ApiProblem(400, 'unknown', 'The parameter format wants csv or jsonl.');
  }
  const lines = linesOf(view, what, isCsv);
  if (!lines) throw new ApiProblem(400, 'unknown', 'The parameter view wants flows, map or drops.');
  const type = isCsv ? 'text/csv; charset=utf-8' : 'application/x-ndjson; charset=utf-8';
  response.writeHead(200, {
    'Content-Type': type,
    'Content-Disposition': `attachment; filename="heddle-${what}.${isCsv ? 'csv' : 'jsonl'}"`,
  });
  let [text, count] = ['', 0];
  for (const line of lines) {
    text += `${line}\n`;
    if (++count % batch !== 0) continue;
    if (response.destroyed) return;
    if (!response.write(text)) await taken(response);
    text = '';
  }
  response.end(text);
}

/** Resolves when the client has taken what was written, or is gone. */
function taken(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.off('drain', done);
      response.off('close', done);
      resolve();
    };
    response.once('drain', done);
    response.once('close', done);
  });
}

function linesOf(view: View, what: string, isCsv: boolean): Iterable<string> | undefined {
  switch (what) {
    case 'flows':
      return isCsv ? csvOf(flowColumns, flowsOf(view)) : jsonFlows(view);
    case 'map':
      return table(mapRows(view), isCsv);
    case 'drops':
      return table(dropRows(view), isCsv);
    default:
      return undefined;
  }
}

function* jsonFlows(view: View): Generator<string> {
  for (const flow of flowsOf(view)) yield responseJson(responseOf(flow));
}

type Row = Readonly<Record<string, string | number>>;

function* table(rows: readonly Row[], isCsv: boolean): Generator<string> {
  const [first] = rows;
  if (isCsv && first) yield Object.keys(first).map(csvCell).join(',');
  for (const row of rows) {
    yield isCsv ? Object.values(row).map(csvCell).join(',') : JSON.stringify(row);
  }
}

const flowColumns: Readonly<Record<string, (flow: RelayFlow) => string | number>> = {
  time: ({ time }) => new Date(time).toISOString(),
  verdict: ({ verdict }) => verdict,
  reason: ({ reason }) => reason,
  from: ({ from }) => nameOf(from),
  from_pod: ({ from }) => from.pod ?? '',
  from_address: ({ from }) => from.address ?? '',
  from_port: ({ fromPort }) => fromPort,
  to: ({ to }) => nameOf(to),
  to_pod: ({ to }) => to.pod ?? '',
  to_address: ({ to }) => to.address ?? '',
  port: ({ port }) => port,
  protocol: ({ protocol }) => protocol,
  service: ({ service }) => service,
  rule: ({ rules }) => rules.map(ruleText).join('; '),
  node: ({ flow }) => flow.node,
  bytes: ({ bytes }) => bytes,
  packets: ({ packets }) => packets,
};

function* csvOf(columns: typeof flowColumns, flows: Iterable<RelayFlow>): Generator<string> {
  yield Object.keys(columns).join(',');
  for (const flow of flows) {
    yield Object.values(columns)
      .map((value) => csvCell(value(flow)))
      .join(',');
  }
}

function mapRows(view: View): Row[] {
  const map = mapOf(view, { level: 'workload', open: [] }, 0);
  const name = (index: number) => {
    const namespace = map.namespaces.name[map.workloads.namespace[index]!]!;
    return `${namespace}/${map.workloads.name[index]}`;
  };
  const { links } = map;
  return links.from.map((from, index) => ({
    ...{ from: name(from), to: name(links.to[index]!) },
    ...{ protocol: links.protocol[index]!, port: links.port[index]! },
    ...{ forwarded: links.forwarded[index]!, dropped: links.dropped[index]! },
    ...{ refused: links.refused[index]!, audit: links.audit[index]! },
    ...{ bytes_out: links.bytesOut[index]!, bytes_in: links.bytesIn[index]! },
  }));
}

function dropRows(view: View): Row[] {
  return dropsOf(view).kinds.map((kind) => ({
    ...{ id: kind.id, verdict: kind.verdict, reason: kind.name, direction: kind.direction ?? '' },
    ...{ from: nameOf(kind.from), to: nameOf(kind.to), protocol: kind.protocol, port: kind.port },
    ...{
      service: kind.service ?? '',
      packets: kind.packets,
      rules: kind.rules.map(ruleText).join('; '),
    },
    ...{ since: new Date(kind.since).toISOString(), last: new Date(kind.last).toISOString() },
  }));
}
