"""What the steps of an upgrade are called, for people: in the plan, in `upgrade_progress`, on the page. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class StepName(NamedTuple):
    """A step in both languages."""

    english: str
    chinese: str

    def __str__(self) -> str:
        return f"{self.english} ({self.chinese})"


STEP_NAMES: Mapping[str, StepName] = {
    "check_nodes": StepName("Check both nodes", "检查两个节点"),
    "stage": StepName("Stage everything on both nodes", "准备升级文件"),
    "detect_rsync": StepName("Detect rsync", "检测 rsync"),
    "pause_rsync": StepName("Pause rsync", "暂停 rsync"),
    "back_up_configuration": StepName("Back up the configuration", "备份配置"),
    "lock_configuration": StepName("Lock the configuration", "锁定配置"),
    "stop_master": StepName("Stop the master", "停止主节点"),
    "install_master": StepName("Install on the master", "升级主节点"),
    "start_master": StepName("Start the master", "启动主节点"),
    "verify_master": StepName("Verify the master", "验证主节点"),
    "stop_backup": StepName("Stop the backup", "停止备节点"),
    "install_backup": StepName("Install on the backup", "升级备节点"),
    "start_backup": StepName("Start the backup", "启动备节点"),
    "verify_backup": StepName("Verify the backup", "验证备节点"),
    "switch_over": StepName("Let the backup serve", "切换到备节点"),
    "switch_back": StepName("Let the master serve again", "切回主节点"),
    "confirm_paused": StepName("Make sure that rsync is still paused", "确认 rsync 已暂停"),
    "unlock_configuration": StepName("Unlock the configuration", "解锁配置"),
    "write_configuration": StepName("Write the new configuration", "写入新配置"),
    "resume_rsync": StepName("Resume rsync", "恢复 rsync"),
    "synchronize": StepName("Synchronize once", "同步配置"),
    "compare": StepName("Compare both nodes", "同步验证"),
    "record": StepName("Record the outcome", "记录结果"),
    "release": StepName("Let go of both nodes", "释放节点"),
}


def name_of(step: str) -> StepName:
    """The name of a step; an undo is named after what it takes back."""
    if step.startswith("undo-"):
        done = STEP_NAMES.get(step.removeprefix("undo-"), StepName(step, step))
        return StepName(f"Take back: {done.english}", f"回滚: {done.chinese}")
    return STEP_NAMES.get(step, StepName(step, step))
