import type { Hello, NodeCount } from '../contract.ts';
import { formatNumber, formatTime } from '../parts/format.ts';

/** A line above the view about what is missing in it. */
export interface Banner {
  readonly text: string;
  readonly isAboutNodes: boolean;
}

/** Returns the lines about nodes that send nothing, a range that is not kept, and namespaces that are not shown. */
export function bannerTexts(state: {
  readonly hello: Hello | undefined;
  readonly nodes: NodeCount | undefined;
  readonly from: number;
  /** False while the window is live. */
  readonly isFixed: boolean;
  readonly now: number;
}): Banner[] {
  const { hello, nodes, from, isFixed, now } = state;
  const banners: Banner[] = [];
  if (nodes && nodes.seen < nodes.all) {
    const missing = nodes.all - nodes.seen;
    const verb = missing === 1 ? 'sends nothing: its pods are' : 'send nothing: their pods are';
    banners.push({
      text: `${formatNumber(missing, 'node')} of ${nodes.all} ${verb} missing here.`,
      isAboutNodes: true,
    });
  }
  if (hello && isFixed && from < hello.keptSince.links - 60_000) {
    const since = formatTime(hello.keptSince.links, now);
    banners.push({ text: `Kept since ${since}. Shown from there.`, isAboutNodes: false });
  }
  if (hello?.namespaces) {
    const names = hello.namespaces;
    const list = [names.slice(0, -1).join(', '), names.at(-1)].filter(Boolean).join(' and ');
    const text =
      names.length === 0
        ? 'Your account may see no namespace.'
        : `Your account may see ${names.length === 1 ? 'namespace' : 'namespaces'} ${list}.`;
    banners.push({ text, isAboutNodes: false });
  }
  return banners;
}
