/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The notation that the test objects need; they include nothing else. */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int s32;
typedef long long s64;
typedef u16 __be16;
typedef u32 __be32;
typedef u64 __be64;

#define SEC(name) __attribute__((section(name), used))
#define KSYM __attribute__((section(".ksyms")))
#define WEAK __attribute__((weak))
#define HIDDEN __attribute__((visibility("hidden")))
#define NOINLINE __attribute__((noinline))
#define CORE __attribute__((preserve_access_index))

#define MAP_UINT(name, value) int(*name)[value]
#define MAP_ULONG(name, value) enum { name##_of = value } name
#define MAP_TYPE(name, value) value *name
#define MAP_ARRAY(name, value) __typeof__(value) *name[]

/* Arguments of clang's builtins for relocations, in its own order. */
#define FIELD_OFFSET(field) __builtin_preserve_field_info(field, 0)
#define FIELD_SIZE(field) __builtin_preserve_field_info(field, 1)
#define FIELD_EXISTS(field) __builtin_preserve_field_info(field, 2)
#define FIELD_SIGNED(field) __builtin_preserve_field_info(field, 3)
#define FIELD_LSHIFT(field) __builtin_preserve_field_info(field, 4)
#define FIELD_RSHIFT(field) __builtin_preserve_field_info(field, 5)
#define TYPE_EXISTS(type) __builtin_preserve_type_info(*(type *)0, 0)
#define TYPE_SIZE(type) __builtin_preserve_type_info(*(type *)0, 1)
#define TYPE_MATCHES(type) __builtin_preserve_type_info(*(type *)0, 2)
#define TYPE_ID_LOCAL(type) __builtin_btf_type_id(*(type *)0, 0)
#define TYPE_ID_TARGET(type) __builtin_btf_type_id(*(type *)0, 1)
#define ENUMERATOR_EXISTS(type, value) __builtin_preserve_enum_value(*(type *)value, 0)
#define ENUMERATOR_VALUE(type, value) __builtin_preserve_enum_value(*(type *)value, 1)

static void *(*const map_lookup_elem)(const void *map, const void *key) = (void *)1;
static long (*const tail_call)(void *context, const void *map, u32 index) = (void *)12;
static long (*const loop)(u32 count, const void *body, void *context, u64 flags) = (void *)181;
