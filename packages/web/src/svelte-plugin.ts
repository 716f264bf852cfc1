import { readFile } from 'node:fs/promises';
import { type Plugin, transform } from 'esbuild';
import { compile, compileModule } from 'svelte/compiler';

/**
 * Compiles components (`.svelte`) and modules with runes (`.svelte.ts`). Warnings of the compiler are errors.
 * So are style attributes and raw HTML, because the page's content security policy allows no inline styles,
 * and names come from strangers.
 */
export const sveltePlugin: Plugin = {
  name: 'svelte',
  setup({ onLoad }) {
    onLoad({ filter: /\.svelte$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8');
      const errors = findForbidden(source).map((text) => ({ text, location: { file: path } }));
      if (errors.length > 0) return { errors };
      const { js, warnings } = compile(source, { filename: path, css: 'external', runes: true });
      if (warnings.length > 0) {
        return {
          errors: warnings.map(({ message, start }) => ({
            text: message,
            location: { file: path, line: start?.line ?? 1, column: start?.column ?? 0 },
          })),
        };
      }
      return { contents: js.code, loader: 'js' };
    });
    onLoad({ filter: /\.svelte\.ts$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8');
      const { code } = await transform(source, {
        loader: 'ts',
        target: 'es2023',
        tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true } },
      });
      return { contents: compileModule(code, { filename: path }).js.code, loader: 'js' };
    });
  },
};

/** Returns a sentence for each construct in a component that the page must not have. */
export function findForbidden(source: string): string[] {
  const rules: readonly [RegExp, string][] = [
    [/\{@html\b/, '{@html} is not allowed: names of pods and hosts come from strangers.'],
    [/\sstyle=/, 'style= is not allowed by the content security policy: use the style: directive.'],
    [
      /\s(transition|in|out|animate):\w/,
      'transitions insert style elements, which are not allowed.',
    ],
    [/<style\b/, 'styles belong into a .css file that the component imports.'],
  ];
  return rules.filter(([pattern]) => pattern.test(source)).map(([, text]) => text);
}
