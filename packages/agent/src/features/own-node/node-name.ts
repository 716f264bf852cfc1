/** At most so many names are listed in a sentence. */
const shownNames = 5;

/**
 * The warning about a Node name that no Node object has; undefined when there is nothing to warn of. `known` are
 * the names of the Nodes that the source has delivered in full. A folder without any Node is fine: it says
 * nothing about nodes. In a cluster every node has its object.
 */
export function nodeNameProblem(
  node: string,
  known: readonly string[],
  source: 'cluster' | 'folder',
): string | undefined {
  if (known.includes(node) || (source === 'folder' && known.length === 0)) return undefined;
  const effect =
    'endpoints of this node count as those of another, and NodePorts are served at all its addresses';
  if (source === 'cluster') {
    return `the API server has no Node ${node}: ${effect} (name this machine's Node with --node)`;
  }
  const names = known.slice(0, shownNames).join(', ');
  const more = known.length > shownNames ? ` and ${known.length - shownNames} more` : '';
  return `the manifests have no Node ${node}: ${effect} (name this machine's Node with --node; there are ${names}${more})`;
}
