/* SPDX-License-Identifier: Apache-2.0 */
/* Texts: what is read of JSON, and what is printed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct text {
	const char *bytes;
	size_t length;
};

static inline struct text text_of(const char *string)
{
	struct text text = { string };

	while (string[text.length])
		text.length++;
	return text;
}

static inline bool begins_with(const char *string, struct text beginning)
{
	for (size_t i = 0; i < beginning.length; i++)
		if (!string[i] || string[i] != beginning.bytes[i])
			return false;
	return true;
}

static inline bool equals(struct text text, const char *string)
{
	return begins_with(string, text) && !string[text.length];
}

static inline bool is_space(char byte)
{
	return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

/*
 * Reads a JSON object, from its first brace to its last one. Of its own members, not those of
 * objects within it, the string named `key` is stored in `value`, with its escapes. Returns false
 * if the text is anything else, e.g. the first half of an object. Everything else about the object
 * is for the agent to check.
 */
static inline bool read_object(struct text json, const char *key, struct text *value)
{
	const char *at = json.bytes, *end = at + json.length;
	struct text name = {};
	bool is_value = false;
	int depth = 0;

	while (at < end && is_space(*at))
		at++;
	if (at == end || *at != '{')
		return false;
	for (; at < end; at++) {
		if (*at == '"') {
			struct text string = { ++at };

			while (at < end && *at != '"')
				at += *at == '\\' ? 2 : 1;
			if (at >= end)
				return false;
			string.length = at - string.bytes;
			if (depth != 1)
				continue;
			if (!is_value)
				name = string;
			else if (equals(name, key))
				*value = string;
		} else if (*at == '{' || *at == '[') {
			depth++;
		} else if (*at == '}' || *at == ']') {
			if (--depth == 0)
				break;
		} else if (depth == 1 && (*at == ':' || *at == ',')) {
			is_value = *at == ':';
		}
	}
	if (at == end)
		return false;
	do
		at++;
	while (at < end && is_space(*at));
	return at == end;
}

static char printed_bytes[8192];
static struct text printed = { .bytes = printed_bytes };

/* Appends to `printed`, which has room for one error. What has no room is cut off. */
static inline void print(struct text text)
{
	for (size_t i = 0; i < text.length && printed.length < sizeof(printed_bytes); i++)
		printed_bytes[printed.length++] = text.bytes[i];
}

static inline void print_string(const char *string)
{
	print(text_of(string));
}

/* Appends at most 1,000 bytes of the text as a part of a JSON string. */
static inline void print_escaped(struct text text)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < text.length && i < 1000; i++) {
		unsigned char byte = text.bytes[i];
		char escape[] = { '\\', 'u', '0', '0', digits[byte >> 4], digits[byte & 15] };

		if (byte > 126) /* It may be no UTF-8. */
			print_string("?");
		else if (byte < ' ' || byte == '"' || byte == '\\')
			print((struct text){ escape, sizeof(escape) });
		else
			print((struct text){ text.bytes + i, 1 });
	}
}

static inline void print_number(unsigned long number)
{
	char digits[20];
	size_t at = sizeof(digits);

	do
		digits[--at] = '0' + number % 10;
	while (number /= 10);
	print((struct text){ digits + at, sizeof(digits) - at });
}
