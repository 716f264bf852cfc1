import { Document, isCollection, isNode, type Node } from 'yaml';

/** A comment in a YAML document, at the place of a value. */
export interface YamlComment {
  readonly path: readonly (string | number)[];
  readonly text: string;
}

/**
 * Returns objects as YAML documents. `comments` are those of the object with the same index; one without a path stands
 * before the document.
 */
export function yamlOf(
  objects: readonly object[],
  comments: readonly (readonly YamlComment[])[] = [],
): string {
  const texts = objects.map((object, i) => {
    const document = new Document(object, { aliasDuplicateObjects: false });
    for (const { path, text } of comments[i] ?? []) {
      const comment = commentText(text);
      if (path.length === 0) document.commentBefore = comment;
      else nodeAt(document, path).commentBefore = comment;
    }
    return document.toString({ lineWidth: 0 });
  });
  return texts.join('---\n');
}

function commentText(text: string): string {
  return text
    .split('\n')
    .map((line) => ` ${line}`)
    .join('\n');
}

function nodeAt(document: Document, path: YamlComment['path']): Node {
  const node = document.getIn(path, true);
  if (!isNode(node)) throw new TypeError(`write YAML: there is nothing at ${path.join('.')}`);
  // In block style, a comment before a mapping in a list stands before its dash.
  if (isCollection(node)) node.flow = false;
  return node;
}
