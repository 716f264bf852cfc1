import { toBinary } from '@bufbuild/protobuf';
import { flowMessage, party } from '@heddle/hubble';
import { FlowSchema } from '@heddle/hubble/messages';
import { flowRecord, testNode } from '@heddle/hubble/testing/flows';
import { HistoryFile } from '../src/history/history-file.ts';
import { Traffic } from '../src/traffic/traffic.ts';

/** Adds connections at a time, spread over so many clients. */
export function addFlows(traffic: Traffic, time: number, count: number, clients = 3): void {
  for (let index = 0; index < count; index++) {
    const name = `client-${index % clients}`;
    const sourceParty = party({
      ...{ identity: 300, namespace: 'shop', podName: `${name}-0` },
      workloads: [{ kind: 'StatefulSet', name }],
    });
    const message = flowMessage(flowRecord({ time, sourceParty }), testNode, 'x');
    traffic.accept(toBinary(FlowSchema, message), 'n1', time, Number.POSITIVE_INFINITY);
  }
}

/** Writes ten connections a flush to the file that the parent process names, until it is killed. */
if (process.send && process.argv[2]) {
  const file = new HistoryFile(process.argv[2], 64 * 1024 * 1024);
  const traffic = new Traffic();
  traffic.links.onCounted = (counted) => file.note(counted);
  for (let flushes = 1; ; flushes++) {
    addFlows(traffic, Date.now(), 10);
    file.flush(Date.now());
    process.send(flushes);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
