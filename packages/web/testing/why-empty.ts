import type { WhyEmpty } from '@heddle/web/contract';
import { type Filter, nearest, withoutWord } from '@heddle/web/filter';
import { never, type ScriptedRelay } from './relay.ts';

/** Returns the checks of an empty view, until and with the first that fails. */
export function whyEmpty(relay: ScriptedRelay, filter: Filter, from: number): WhyEmpty {
  const checks: WhyEmpty['checks'][number][] = [];
  const { faults, cluster } = relay;
  const seen = cluster.nodes.length - faults.missingNodes;
  checks.push({ id: 'relay', isOk: true, text: 'The relay answers the page.' });
  checks.push({
    ...{ id: 'nodes', isOk: faults.missingNodes === 0 },
    text: `The relay receives flows of ${seen} of ${cluster.nodes.length} nodes.`,
  });
  checks.push({
    ...{ id: 'visibility', isOk: !faults.isWithoutFlows },
    text: faults.isWithoutFlows
      ? 'The agents report no flows: their option --flows is off.'
      : 'The agents report flows.',
  });
  checks.push({ id: 'flows', isOk: true, text: `Flows arrive: ${relay.flowsPerSecond} a second.` });
  const isKept = from >= relay.keptSince;
  checks.push({
    ...{ id: 'kept', isOk: isKept },
    text: isKept ? 'The window lies in what is kept.' : 'The window begins before what is kept.',
  });
  checks.push(...nameChecks(relay, filter));
  const word = wordCheck(relay, filter);
  if (word) checks.push(word);
  const last = checks.findIndex(({ isOk }) => !isOk);
  return { checks: last < 0 ? checks : checks.slice(0, last + 1), never };
}

function nameChecks({ cluster }: ScriptedRelay, filter: Filter): WhyEmpty['checks'][number][] {
  const namespaces = [...new Set(cluster.workloads.map(({ namespace }) => namespace))].filter(
    Boolean,
  );
  return filter.words
    .map((word, index) => ({ ...word, index }))
    .filter(({ key, isExcluded }) => /^(from-|to-)?ns$/.test(key) && !isExcluded)
    .map(({ key, value, index }) => {
      if (namespaces.includes(value)) {
        const pods = cluster.workloads
          .filter(({ namespace }) => namespace === value)
          .reduce((sum, each) => sum + each.pods.length, 0);
        return { id: 'names', isOk: true, text: `Namespace ${value} exists and has ${pods} pods.` };
      }
      const near = nearest(value, namespaces);
      const fixed = filter.words.map((word, at) => (at === index ? `${key}:${near}` : word.text));
      return {
        ...{ id: 'names' as const, isOk: false },
        text: `There is no namespace ${value}.${near ? ` Is ${near} meant?` : ''}`,
        ...(near ? { remedy: { label: `Use ${key}:${near}`, filter: fixed.join(' ') } } : {}),
      };
    }) as WhyEmpty['checks'][number][];
}

function wordCheck(relay: ScriptedRelay, filter: Filter): WhyEmpty['checks'][number] | undefined {
  if (filter.words.length === 0 || relay.links(filter.text).length > 0) return undefined;
  const freed = filter.words.map((word, index) => {
    const rest = withoutWord(filter.text, index);
    return { word, rest, count: relay.links(rest).length };
  });
  const best = freed.reduce((most, each) => (each.count > most.count ? each : most));
  const others = freed.filter((each) => each !== best).map(({ word }) => word.text);
  const values = relay.values(best.word.key, '').values.map(({ value }) => value);
  return {
    ...{ id: 'words', isOk: false, values: values.slice(0, 8) },
    text: `No flow${others.length > 0 ? ` of ${others.join(' ')}` : ''} has ${best.word.text}. Without it, ${best.count} links would match.`,
    remedy: { label: `Remove ${best.word.text}`, filter: best.rest },
  };
}
