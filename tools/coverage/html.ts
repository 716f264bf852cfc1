import type { Lines, Uncovered } from './lines.ts';

/**
 * Returns a self-contained page with a table of the files, and each file's source with its counts.
 */
export function coveragePage(
  lines: Lines,
  sources: ReadonlyMap<string, readonly string[]>,
  uncovered: readonly Uncovered[],
  when: string,
): string {
  const files = [...lines].sort(([a], [b]) => (a < b ? -1 : 1));
  const all = summaryOf(files.flatMap(([, counts]) => [...counts.values()]));
  const rows = files.map(([file, counts]) => {
    const { text, share } = summaryOf([...counts.values()]);
    return `<tr><td><a href="#${file}">${escaped(file)}</a></td>${meter(share)}<td>${text}</td></tr>`;
  });
  const reasons = uncovered.map(
    ({ file, number, line, reason }) =>
      `<tr><td><a href="#${file}:${number}">${escaped(file)}:${number}</a></td><td><code>${escaped(line)}</code></td><td>${escaped(reason ?? 'no reason is given')}</td></tr>`,
  );
  const parts = files.map(([file, counts]) =>
    fileOf(
      file,
      counts,
      sources.get(file)!,
      uncovered.filter((each) => each.file === file),
    ),
  );
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Heddle: coverage of bpf/</title>
<style>${style}</style>
<h1>Lines of <code>bpf/</code> that the tests run</h1>
<p>${escaped(when)}. A count is the number of times that the userspace machine ran the line.</p>
<table>
<tr><th>file</th><th></th><th>lines</th></tr>
${rows.join('\n')}
<tr class="all"><td>all</td>${meter(all.share)}<td>${all.text}</td></tr>
</table>
<h2>What is not covered, and why</h2>
${reasons.length === 0 ? '<p>Nothing is left out.</p>' : `<table>\n${reasons.join('\n')}\n</table>`}
${parts.join('\n')}
</html>
`;
}

/** Returns the number of covered lines as text and as a share. */
export function summaryOf(counts: readonly number[]): { text: string; share: number } {
  const ran = counts.filter((count) => count > 0).length;
  const share = counts.length === 0 ? 1 : ran / counts.length;
  return { text: `${ran} of ${counts.length}, ${(share * 100).toFixed(1)} %`, share };
}

const meter = (share: number) =>
  `<td><meter min="0" max="1" low="0.95" optimum="1" value="${share.toFixed(4)}"></meter></td>`;

function fileOf(
  file: string,
  counts: ReadonlyMap<number, number>,
  source: readonly string[],
  uncovered: readonly Uncovered[],
): string {
  const reasons = new Map(uncovered.map((each) => [each.number, each.reason]));
  const rows = source.map((text, i) => {
    const number = i + 1;
    const count = counts.get(number);
    const kind = count === undefined ? '' : count > 0 ? ' class="ran"' : ' class="not"';
    const reason = reasons.get(number);
    const why = reason === undefined ? '' : `<i>${escaped(reason)}</i>`;
    return `<tr${kind} id="${file}:${number}"><td>${number}</td><td>${count ?? ''}</td><td>${escaped(text)}${why}</td></tr>`;
  });
  const isOpen = uncovered.length > 0 ? ' open' : '';
  return `<details id="${file}"${isOpen}><summary>${escaped(file)}: ${summaryOf([...counts.values()]).text}</summary>
<table class="source">
${rows.join('\n')}
</table></details>`;
}

const entities: Readonly<Record<string, string>> = {
  ...{ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' },
};
const escaped = (text: string) => text.replace(/[&<>"]/g, (character) => entities[character]!);

const style = `
:root { color-scheme: light dark; --ran: light-dark(#e6f4e6, #16301b); --not: light-dark(#fbe3e0, #43191a); --dim: light-dark(#666, #999) }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse }
td, th { padding: .15rem .8rem .15rem 0; text-align: left; vertical-align: top }
.all td { border-top: 1px solid var(--dim); font-weight: 600 }
a { color: inherit }
details { margin-top: 1rem }
summary { position: sticky; top: 0; background: Canvas; cursor: pointer; font-weight: 600; padding: .3rem 0 }
.source { font: 13px/1.45 ui-monospace, monospace; width: 100%; tab-size: 8 }
.source td { padding: 0 .8rem 0 0; white-space: pre-wrap }
.source td:nth-child(-n+2) { color: var(--dim); text-align: right; width: 1%; white-space: nowrap; user-select: none }
.source i { color: var(--dim); font-family: system-ui, sans-serif; padding-left: 2rem }
.ran { background: var(--ran) }
.not { background: var(--not) }
`;
