import type { PageState } from './state.svelte.ts';
import { windowKeys, windowOf } from './url.ts';
import { mainViews } from './words.ts';

/** The keys of the page with what they do. */
export const keyTexts: readonly (readonly [string, string])[] = [
  ['/', 'find or filter'],
  ['1 2 3 4', 'map, drops, changes, flows'],
  ['space', 'pause, go on'],
  ['[ ]', 'window back, on'],
  ['t', 'light or dark'],
  ['c', 'copy the link'],
  ['Esc', 'close, then clear the choice'],
  ['↑ ↓ ← →', 'next row or cell; on the map, callers and called'],
  ['↵', 'choose; on the map again: open its page'],
  ['+ -', 'in the table: filter by the value of the cell, or without it'],
  ['y', 'in the table: copy the row as JSON'],
  ['o', 'on the map: open or close the namespace'],
  ['h x', 'on the map: hide this, only this'],
  ['m', 'map, matrix, list in turn'],
  ['?', 'this list'],
];

/** Returns true for fields, where keys are text. */
function isField(target: EventTarget | null): boolean {
  return target instanceof Element && target.matches('input, textarea, select, [contenteditable]');
}

/** Handles the keys that all views share. Views handle theirs first and prevent the default then. */
export function handleKey(event: KeyboardEvent, page: PageState): void {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (page.denial || (!page.hasShortcuts && event.key.length === 1)) return;
  if (isField(event.target) || document.querySelector('dialog[open]')) return;
  const act = actionOf(event, page);
  if (!act) return;
  event.preventDefault();
  act();
}

function actionOf(event: KeyboardEvent, page: PageState): (() => void) | undefined {
  const { key } = event;
  const view = mainViews[Number(key) - 1];
  if (view) return () => page.navigate({ view });
  switch (key) {
    case '/':
      return () => document.querySelector<HTMLInputElement>('#filter')?.focus();
    case ' ':
      return isPressable(event.target) ? undefined : page.togglePause;
    case 'c':
      return page.copyLink;
    case '?':
      return () => {
        page.isKeysOpen = true;
      };
    case 't':
      return page.toggleTheme;
    case '[':
      return () => moveWindow(page, -1);
    case ']':
      return () => moveWindow(page, 1);
    case 'Escape':
      return () => page.navigate({ keys: { sel: undefined, row: undefined, d: undefined } });
    default:
      return undefined;
  }
}

function isPressable(target: EventTarget | null): boolean {
  return target instanceof Element && target.closest('button, a, summary, [role=button]') !== null;
}

/** Moves the window by its own length; forward beyond the present time makes it live again. */
export function moveWindow(page: PageState, steps: number): void {
  const { from, to } = page.range;
  const shift = (to - from) * steps;
  const window = windowOf(page.route);
  const isBeyond = to + shift >= page.now;
  const minutes = window.kind === 'range' ? 15 : window.minutes;
  const next =
    steps > 0 && isBeyond
      ? ({ kind: 'live', minutes } as const)
      : ({ kind: 'range', from: from + shift, to: to + shift } as const);
  page.navigate({ keys: windowKeys(next) });
}
