/** The largest number of names in a sentence. */
const shownNames = 5;

/**
 * Returns a warning if no Node object has the node's name. `known` are the names of the Nodes of the complete source.
 * A folder without any Node needs no warning, because it does not describe nodes. In a cluster every node has its
 * object.
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
