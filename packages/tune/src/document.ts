import { checks } from './examine.ts';

const head = `# Tuning

\`heddle tune\` looks at settings of a node that cost packets or time, and reports for each one what it
has found, what it recommends and why, and the command that does it by hand. What could not be read is
\`unknown\`, with the reason. \`heddle status\` shows those that are wrong.

- \`heddle tune\` changes nothing.
- \`heddle tune --apply\` makes the changes of the checks with "yes" and "in part" below. The values from
  before are in \`/run/heddle/tune.json\` first.
- \`heddle tune --revert\` restores them, also after an interruption. A value that another program has
  changed since stays, and is reported.
- \`-o json\` prints the findings, or the changes, as JSON.

Changes last until the node restarts. Write those that you want to keep into the configuration of the
node (sysctl.d, udev, tuned). Run it where the agent runs: on the node, or in the pod of the agent, which
does not see all settings of the node.

\`node tools/tuning.ts\` makes this page from the checks (\`packages/tune/src/checks/\`).

`;

/** Returns docs/tuning.md: all checks with their advice and reason. */
export function tuningDocument(): string {
  const rows = checks.map(({ name, about, advice, reason, risk, applies }) =>
    [`\`${name}\``, about, advice, reason, applies, risk].map((cell) =>
      cell.replaceAll('|', '\\|'),
    ),
  );
  const table = [
    ['check', 'looks at', 'recommends', 'because', '--apply', 'risk'],
    ['---', '---', '---', '---', '---', '---'],
    ...rows,
  ];
  return `${head}${table.map((cells) => `| ${cells.join(' | ')} |\n`).join('')}`;
}
