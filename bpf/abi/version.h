/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* This is the version of the layout of all pinned maps. */
#pragma once

enum heddle_abi {
	CURRENT_ABI = 3,
};
