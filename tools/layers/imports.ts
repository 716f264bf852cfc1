import { posix } from 'node:path';

export interface Import {
  /** What is imported, as written. */
  readonly target: string;
  /** Whether types only are imported (`import type`). */
  readonly isType: boolean;
}

const importForms = [
  /^(?:import|export)(?<type>\s+type)?\b[^;'"`]*from\s*['"]([^'"]+)['"]/gm,
  /^import\s*['"]([^'"]+)['"]/gm,
  /\bimport\(\s*['"]([^'"]+)['"]/g,
  /\bimport\.meta\.resolve\(\s*['"]([^'"]+)['"]/g,
];

/** Returns the static, dynamic and type imports of a TypeScript source. */
export function importsOf(source: string): Import[] {
  return importForms.flatMap((form) =>
    [...source.matchAll(form)].map((match) => ({
      target: match.at(-1)!,
      isType: match.groups?.type !== undefined,
    })),
  );
}

/** Returns the path that a relative import of `file` names. */
export function resolveRelative(file: string, target: string): string {
  return posix.join(posix.dirname(file), target);
}

/** Returns the area of a file: the name of its package, else the folder that it lies in (`tools`). */
export function areaOf(file: string): string {
  const [folder, name] = file.split('/');
  return folder === 'packages' ? name! : folder!;
}

/**
 * Returns the groups of files that import each other in a circle through relative imports, each
 * group sorted. These are the strongly connected components of the graph (Tarjan's algorithm).
 * `counts` decides whether an import of a file is looked at.
 */
export function circlesIn(
  sources: ReadonlyMap<string, string>,
  counts: (file: string, isType: boolean) => boolean,
): string[][] {
  const order = new Map<string, number>();
  const open: string[] = [];
  const circles: string[][] = [];

  /** Returns the lowest number that `file` reaches among the files that are still open. */
  function visit(file: string): number {
    const number = order.size;
    order.set(file, number);
    open.push(file);
    let lowest = number;
    for (const { target, isType } of importsOf(sources.get(file)!)) {
      if (!target.startsWith('.') || !counts(file, isType)) continue;
      const path = resolveRelative(file, target);
      if (!sources.has(path)) continue;
      if (!order.has(path)) lowest = Math.min(lowest, visit(path));
      else if (open.includes(path)) lowest = Math.min(lowest, order.get(path)!);
    }
    if (lowest === number) {
      const circle = open.splice(open.indexOf(file));
      if (circle.length > 1) circles.push(circle.sort());
    }
    return lowest;
  }

  for (const file of sources.keys()) if (!order.has(file)) visit(file);
  return circles;
}
