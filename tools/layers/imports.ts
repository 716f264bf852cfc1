import { posix } from 'node:path';

const importForms = [
  /^(?:import|export)\b[^;'"`]*from\s*['"]([^'"]+)['"]/gm,
  /^import\s*['"]([^'"]+)['"]/gm,
  /\bimport\(\s*['"]([^'"]+)['"]/g,
  /\bimport\.meta\.resolve\(\s*['"]([^'"]+)['"]/g,
];

/** Returns what a TypeScript source imports, as written: static, dynamic and type imports. */
export function importsOf(source: string): string[] {
  return importForms.flatMap((form) => [...source.matchAll(form)].map((match) => match[1]!));
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
 */
export function circlesIn(sources: ReadonlyMap<string, string>): string[][] {
  const order = new Map<string, number>();
  const open: string[] = [];
  const circles: string[][] = [];

  /** Returns the lowest number that `file` reaches among the files that are still open. */
  function visit(file: string): number {
    const number = order.size;
    order.set(file, number);
    open.push(file);
    let lowest = number;
    for (const target of importsOf(sources.get(file)!)) {
      if (!target.startsWith('.')) continue;
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
